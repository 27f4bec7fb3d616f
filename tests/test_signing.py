"""The signature of callbacks: the vectors, what is refused, and that what is signed is accepted."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidu_async import CallbackError, ConfigError, ViduError, sign_callback, verify_callback
from vidu_async.cli.app import main
from vidu_async.protocol import signing

DATE, NONCE, NOW = "Tue, 06 May 2025 12:09:42 GMT", "123e4567-e89b-12d3-a456-426614174000", 1746533382.0
HOOK, KEY = "https://hooks.example.com", "vda_0123456789abcdef"
ESCAPED = f"{HOOK}/cb%20x/%E4%BD%A0?a=%E5%A5%BD&b=1+2"
QUERY = "http://127.0.0.1:8080/vidu/callback?name=james&age=36"
BOTH = "Date;x-request-nonce"

VECTORS = {
    # The first string is printed at https://platform.vidu.com/docs/callback-signature; no signature is.
    "the documented string": ("your_secret_token", QUERY, BOTH, "PrO4+kG4W+b3HOSimdHMHn8pnQ6YXQTseBDC/8yvvNA="),
    "another key": ("test-secret", QUERY, BOTH, "j5PqAvWXa6OnegZaBR9I0Gw5K+qmyDCNElqvJoJ0my8="),
    "a shorter nonce": (
        "test-secret-key",
        "https://example.com/api/v1/generation/callback?name=james",
        BOTH,
        "qS8seuDk3v9MD4QfP7XQNAtcolspVK9Uxkq3xcZkRRo=",
    ),
    "neither path nor query": (KEY, HOOK, BOTH, "oyvtuHJUP1IxyyCVc0G73dLQXcdB9xn2LNwe+S4YvVM="),
    "headers in another order": (
        KEY,
        f"{HOOK}/cb",
        "x-request-nonce;Date",
        "eczrFnYuunHFki5La4K48PVR8WsL54KTNDLBj5WQUVs=",
    ),
    "a path as it is": (KEY, ESCAPED, BOTH, "6s752snspoygLI+PlyD82mkNyotuLBbEIcJ1ZQrpn1c="),
    "a decoded path": (KEY, ESCAPED, BOTH, "luy0T+uYUnQuvKpxtJTU3WD37xwYtt5ht5u1ylBwHng="),
    "the date alone": (KEY, f"{HOOK}/cb?task=1", "Date", "YZLlbR0KBUjVgUpUjnXdkuakaUkazb4N1jdSQMlMox0="),
}


def headers(signature: str, signed: str = BOTH, **others: str) -> dict[str, str]:
    """Return the headers of a callback."""
    return {
        "X-HMAC-SIGNATURE": signature,
        "X-HMAC-ALGORITHM": "hmac-sha256",
        "X-HMAC-ACCESS-KEY": "vidu",
        "X-HMAC-SIGNED-HEADERS": signed,
        "Date": DATE,
        "x-request-nonce": NONCE,
    } | {name.replace("_", "-"): value for name, value in others.items()}


def nonce_of(key: str) -> dict[str, str]:
    """Return the nonce of a vector by its key, where it is another."""
    return {"x-request-nonce": "test-nonce-123"} if key == "test-secret-key" else {}


def check(url: str, found: Any, *keys: str, **options: Any) -> None:
    """Verify at the moment of the vectors."""
    verify_callback(**{"method": "POST", "url": url, "headers": found, "keys": keys, "now": NOW, **options})


@pytest.mark.parametrize(("key", "url", "signed", "signature"), VECTORS.values(), ids=VECTORS)
def test_the_vectors_are_accepted_and_nothing_near_them(key: str, url: str, signed: str, signature: str) -> None:
    """With the right key among others, and by the path and query alone, as a server sees them."""
    found = headers(signature, signed) | nonce_of(key)
    check(url, found, "an older key", key)
    origin, _, target = url.removeprefix("https://").removeprefix("http://").partition("/")
    assert origin
    check(f"/{target}", {name.upper(): value for name, value in found.items()}, key)
    wrong: list[dict[str, Any]] = [
        {"url": f"{url}/x"},
        {"method": "GET"},
        {"keys": [f"{key}x"]},
        {"headers": headers(signature.replace("=", ""), signed)},
        {"headers": headers(signature, signed, Date="Tue, 06 May 2025 12:09:43 GMT")},
    ]
    for change in wrong:
        with pytest.raises(CallbackError, match="no key given") as refused:
            verify_callback(**{"method": "POST", "url": url, "headers": found, "keys": [key], "now": NOW, **change})
        assert refused.value.status == 401


SIGNED = headers(VECTORS["another key"][3])


@pytest.mark.parametrize(
    ("found", "status", "said"),
    [
        (SIGNED | {"X-HMAC-ALGORITHM": "hmac-sha1"}, 401, "x-hmac-algorithm is not hmac-sha256"),
        (SIGNED | {"X-HMAC-ACCESS-KEY": "other"}, 401, "x-hmac-access-key is not vidu"),
        (SIGNED | {"X-HMAC-SIGNED-HEADERS": "x-request-nonce"}, 401, "does not sign its Date"),
        (SIGNED | {"X-HMAC-SIGNED-HEADERS": "Date;Host"}, 401, "header Host is missing"),
        (SIGNED | {"X-HMAC-SIGNATURE": "\N{SNOWMAN}"}, 401, "no key given"),
        ({name: value for name, value in SIGNED.items() if name != "Date"}, 401, "header Date is missing"),
        ([*SIGNED.items(), ("date", DATE)], 401, "header Date is there more than once"),
        (SIGNED | {"Date": f"{DATE}\nx:y"}, 401, "header Date has more than a line"),
        ({}, 401, "header Date is missing"),
        (SIGNED | {"X-HMAC-SIGNED-HEADERS": f"{BOTH};Authorization", "Authorization": "x"}, 401, "do not, or too many"),
        (SIGNED | {"X-HMAC-SIGNED-HEADERS": f"{BOTH};date"}, 401, "do not, or too many"),
        (SIGNED | {"X-HMAC-SIGNED-HEADERS": ";".join(f"x-{n}" for n in range(10_000))}, 401, "do not, or too many"),
    ],
)
def test_what_is_no_callback_of_vidu_is_refused(found: Any, status: int, said: str) -> None:
    """With the status to answer, and without a word of what was sent."""
    with pytest.raises(CallbackError, match=said) as refused:
        check(QUERY, found, "test-secret")
    assert refused.value.status == status
    assert pickle.loads(pickle.dumps(refused.value)).status == status
    assert SIGNED["X-HMAC-SIGNATURE"] not in str(refused.value)
    assert "test-secret" not in str(refused.value)


@pytest.mark.parametrize("off", [-301, 301])
def test_an_old_one_is_refused_and_one_of_the_future(off: int) -> None:
    """By the date that is signed; how old it may be is the caller's to say."""
    check(QUERY, SIGNED, "test-secret", now=NOW + off, max_age=302)
    with pytest.raises(CallbackError, match=f"signed {off} s ago, and 300 s are allowed"):
        check(QUERY, SIGNED, "test-secret", now=NOW + off)


@pytest.mark.parametrize("date", ["yesterday", "Tue, 31 Feb 2025 12:09:42 GMT", "Tue, 06 May 2025 12:09:42 +0200"])
def test_a_date_that_is_none_is_refused(date: str) -> None:
    """Although it is signed."""
    with pytest.raises(CallbackError, match="Date is none as HTTP writes it") as refused:
        check(HOOK, sign_callback(url=HOOK, key=KEY, date=date), KEY)
    assert refused.value.status == 401


@pytest.mark.parametrize("keys", [(), ("",), (None,)])
def test_to_check_without_a_key_is_a_mistake(keys: Any) -> None:
    """It would accept nothing, or everything."""
    with pytest.raises(ConfigError, match="keys= must hold"):
        check(QUERY, SIGNED, *keys)


def test_a_url_that_is_none_is_refused() -> None:
    """It must name a path."""
    with pytest.raises(CallbackError, match="URL"):
        check("hooks.example.com/cb", SIGNED, KEY)
    check(f"{HOOK}/cb#part", sign_callback(url=f"{HOOK}/cb", key=KEY, date=DATE), KEY)


def test_what_is_signed_now_is_accepted_now() -> None:
    """By the clock, with a nonce of its own each time."""
    one, other = (sign_callback(url=f"{HOOK}/cb?job=7", key=KEY) for _ in range(2))
    assert one["x-request-nonce"] != other["x-request-nonce"]
    verify_callback(method="POST", url="/cb?job=7", headers=one, keys=KEY)


printable = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=20)
targets = st.text(st.characters(codec="ascii", min_codepoint=33, exclude_characters="#"), max_size=30)


@given(target=targets, key=printable.filter(bool), nonce=printable, moment=st.datetimes(timezones=st.just(UTC)))
def test_whatever_is_signed_is_accepted(target: str, key: str, nonce: str, moment: datetime) -> None:
    """Whatever path, key, nonce and date; and by no other key."""
    moment = moment.replace(microsecond=0)
    url = f"{HOOK}/{target}"
    found = sign_callback(url=url, key=key, date=signing.http_date(moment), nonce=nonce)
    verify_callback(method="post", url=url, headers=found, keys=[key], now=moment.timestamp(), max_age=0)
    with pytest.raises(ViduError):
        verify_callback(method="POST", url=url, headers=found, keys=[f"{key}x"], now=moment.timestamp())


# On the command line


def lines(found: dict[str, str]) -> str:
    """Return headers as they stand in a request."""
    return "".join(f"{name}: {value}\r\n" for name, value in found.items())


@pytest.mark.parametrize("before", ["", "POST /cb HTTP/1.1\r\nHost: hooks.example.com\r\n"])
def test_the_command_reads_headers_from_stdin(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], before: str
) -> None:
    """With the key of a variable; a request's body may follow."""
    import io  # noqa: PLC0415 - for stdin alone

    found = lines(sign_callback(url=f"{HOOK}/cb", key=KEY))
    monkeypatch.setenv("VIDU_API_KEY", KEY)
    monkeypatch.setenv("OTHER_KEY", "another")
    for names, status in (([], 0), (["--key", "OTHER_KEY"], 1), (["--key", "OTHER_KEY", "--key", "VIDU_API_KEY"], 0)):
        monkeypatch.setattr("sys.stdin", io.StringIO(f"{before}{found}\r\n{{}}"))
        assert main(["verify-callback", "--url", f"{HOOK}/cb", *names]) == status
    out, err = capsys.readouterr()
    assert out == "signed\nsigned\n"
    assert "no key given has signed" in err


def test_the_command_repeats_no_secret(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither a key that was given where its variable's name belongs, nor a header."""
    import io  # noqa: PLC0415 - as above

    assert main(["verify-callback", "--url", "/", "--key", KEY]) == 2
    monkeypatch.setenv("VIDU_API_KEY", KEY)
    for content in ("", "no header", lines(sign_callback(url="/", key=KEY) | {"Date": "secret"})):
        monkeypatch.setattr("sys.stdin", io.StringIO(content))
        assert main(["verify-callback", "--url", "/", "--json"]) in {1, 2}
    out, err = capsys.readouterr()
    assert KEY not in out + err
    assert "secret" not in out + err
