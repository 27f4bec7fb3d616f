"""Where Vidu is spoken: presets, addresses, and what is refused because the key would leak."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from vidu_async import ConfigError, Gateway, ViduError
from vidu_async.protocol import calls

HERE = "https://gateway.example"


def custom(base_url: str = HERE, **settings: Any) -> Gateway:
    """Return a gateway of one's own."""
    return Gateway(base_url=base_url, **settings)


@pytest.mark.parametrize(
    ("gateway", "url", "scheme", "ability"),
    [
        (Gateway.kkiai(), "https://www.kkiai.com/ent/v2/tasks", "Bearer", None),
        (Gateway.vidu(), "https://api.vidu.com/ent/v2/tasks", "Token", True),
        (Gateway.vidu_cn(), "https://api.vidu.cn/ent/v2/tasks", "Token", True),
        (custom(), "https://gateway.example/ent/v2/tasks", "Bearer", None),
    ],
    ids=["kkiai", "vidu", "vidu_cn", "custom"],
)
def test_a_preset_knows_its_address_its_word_for_the_key_and_its_abilities(
    gateway: Gateway, url: str, scheme: str, ability: bool | None
) -> None:
    """Resellers do not say whether they list, cancel and take uploads, so that is found out."""
    assert gateway.url("tasks") == url
    assert gateway.auth_scheme == scheme
    assert (gateway.lists, gateway.cancels, gateway.uploads) == (ability, ability, ability)


@pytest.mark.parametrize(
    ("given_url", "base_url"),
    [
        ("https://gateway.example/", HERE),
        ("  https://gateway.example//\n", HERE),
        ("https://gateway.example/ent/v2", HERE),
        ("https://gateway.example/ent/v2/", HERE),
        ("https://gateway.example:8443", f"{HERE}:8443"),
        ("https://gateway.example/vidu", f"{HERE}/vidu"),
        ("https://gateway.example/vidu/ent/v2", f"{HERE}/vidu"),
        ("https://gateway.example/client/v2", f"{HERE}/client/v2"),
    ],
)
def test_a_base_url_is_taken_as_pages_print_it(given_url: str, base_url: str) -> None:
    """With a slash, or with the API root that is added anyway."""
    gateway = custom(given_url)

    assert gateway.base_url == base_url
    assert gateway.url("img2video") == f"{base_url}/ent/v2/img2video"
    assert custom(gateway.base_url) == gateway


@pytest.mark.parametrize("api_root", ["v2", "/v2", "/v2/"])
def test_an_api_root_is_taken_with_and_without_slashes(api_root: str) -> None:
    """Some gateways have another one than Vidu."""
    assert custom(f"{HERE}/vidu/v2", api_root=api_root).url("tasks") == f"{HERE}/vidu/v2/tasks"


def test_an_api_root_may_be_empty() -> None:
    """The whole address is the base URL then."""
    assert custom(f"{HERE}/proxy/vidu", api_root="").url("tasks") == f"{HERE}/proxy/vidu/tasks"


@pytest.mark.parametrize(
    ("base_url", "scheme"),
    [
        ("https://www.kkiai.com", "Bearer"),
        ("https://api.vidu.com", "Token"),
        ("https://api.vidu.com/ent/v2/", "Token"),
        ("https://API.vidu.com", "Token"),
        ("https://api.vidu.com:443", "Token"),
        ("https://api.vidu.cn", "Token"),
        ("https://gateway.example", "Bearer"),
        ("https://api.vidu.com.gateway.example", "Bearer"),
    ],
)
def test_a_base_url_alone_finds_the_preset_of_its_host(base_url: str, scheme: str) -> None:
    """With the wrong word before it, every key is refused; names of hosts know no case."""
    gateway = Gateway.at(base_url)

    assert gateway.auth_scheme == scheme
    assert gateway.lists is (True if scheme == "Token" else None)


def test_a_preset_that_is_found_keeps_the_port_and_the_prefix_given() -> None:
    """Such as those of a company's own proxy."""
    assert Gateway.at("http://127.0.0.1:8080/vidu").url("tasks") == "http://127.0.0.1:8080/vidu/ent/v2/tasks"
    assert Gateway.at("https://api.vidu.com/prefix").url("tasks") == "https://api.vidu.com/prefix/ent/v2/tasks"


@pytest.mark.parametrize(
    "base_url",
    [
        "",
        "gateway.example",
        "//gateway.example",
        "ftp://gateway.example",
        "file:///etc/passwd",
        "https://",
        "https:///path",
        "https://gateway.example:port",
        "https://gateway.example:99999",
        "https://[::1",
        "https://gateway.example?key=1",
        "https://gateway.example#top",
        "https://gateway.example?",
        "https://gateway.example#",
        "https://gateway.example/ent/v2?",
        "https://me@gateway.example",
        "https://me:pw@gateway.example",
        "https://:pw@gateway.example",
    ],
)
def test_what_is_no_base_url_is_refused(base_url: str) -> None:
    """Before a key goes there."""
    with pytest.raises(ConfigError, match="base_url"):
        custom(base_url)


@pytest.mark.parametrize(
    "base_url", ["https://me:hunter2@gateway.example", "https://me:hunter2@gateway.example:port", "ftp://:hunter2@x"]
)
def test_a_refused_base_url_does_not_show_its_password(base_url: str) -> None:
    """Whatever else is wrong with it."""
    with pytest.raises(ConfigError) as refused:
        custom(base_url)

    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    "base_url",
    [
        "http://gateway.example",
        "http://localhost.gateway.example",
        "http://127.0.0.1.gateway.example",
        "http://10.0.0.1",
        "http://0.0.0.0:8080",
        "http://api.vidu.com",
        "HTTP://gateway.example",
    ],
)
def test_plain_http_is_refused_off_this_machine(base_url: str) -> None:
    """The key would travel readable."""
    with pytest.raises(ConfigError, match="allow_insecure"):
        custom(base_url)
    with pytest.raises(ConfigError, match="allow_insecure"):
        Gateway.at(base_url)


@pytest.mark.parametrize(
    "base_url",
    ["http://localhost:8080", "http://LOCALHOST", "http://127.0.0.1:8080", "http://127.8.8.8", "http://[::1]:80"],
)
def test_plain_http_is_fine_on_this_machine(base_url: str) -> None:
    """Where simulators and proxies run."""
    assert custom(base_url).base_url == base_url


def test_plain_http_is_fine_where_it_is_asked_for() -> None:
    """In writing."""
    assert custom("http://10.0.0.1", allow_insecure=True).url("tasks") == "http://10.0.0.1/ent/v2/tasks"


@pytest.mark.parametrize(
    ("task_id", "path"),
    [
        ("911045603801182208", "tasks/911045603801182208/creations"),
        ("video_01HZX", "tasks/video_01HZX/creations"),
        ("a/../b", "tasks/a%2F..%2Fb/creations"),
        ("a:b^^c", "tasks/a%3Ab%5E%5Ec/creations"),
        ("a?b#c", "tasks/a%3Fb%23c/creations"),
        ("50%", "tasks/50%25/creations"),
        ("{id}", "tasks/%7Bid%7D/creations"),
        ("狐", "tasks/%E7%8B%90/creations"),
    ],
)
def test_a_task_id_stays_one_segment_of_its_path(task_id: str, path: str) -> None:
    """Gateways make ids of their own."""
    assert custom().task_path(task_id) == path


@given(task_id=st.text(st.characters(), min_size=1) | st.sampled_from([".", "..", "%2e%2e", "./.", "\ud800"]))
def test_any_task_id_is_asked_about_at_its_own_place_or_refused(task_id: str) -> None:
    """Also once an HTTP client has put the URL in order: `..` would climb out of the path."""
    try:
        url = calls.query(custom(), task_id).url
    except ViduError:
        return
    before, between, after = URL(url).raw_path.partition("/tasks/")
    assert (before, between) == ("/ent/v2", "/tasks/")
    assert after.endswith("/creations")
    assert unquote(after.removesuffix("/creations")) == task_id


def test_an_empty_task_id_is_refused() -> None:
    """`tasks//creations` asks about nothing."""
    with pytest.raises(ViduError):
        calls.query(custom(), "")


@pytest.mark.parametrize(
    ("query_path", "url"),
    [
        ("task/{id}/creations", f"{HERE}/ent/v2/task/7/creations"),
        ("tasks/{id}", f"{HERE}/ent/v2/tasks/7"),
        ("creations?task_id={id}", f"{HERE}/ent/v2/creations?task_id=7"),
    ],
)
def test_the_path_of_a_query_can_be_another(query_path: str, url: str) -> None:
    """As several gateways have it."""
    assert calls.query(custom(query_path=query_path), "7").url == url


def test_a_query_path_without_a_place_for_the_id_is_refused() -> None:
    """Every task would be the same one."""
    with pytest.raises(ConfigError, match=r"\{id\}"):
        custom(query_path="tasks/creations")
