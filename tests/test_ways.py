"""The ways of gateways, as their servers see them: paths, ids, headers, keys, names of models and subjects."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from aiohttp import web
from attrs import define, field

from vidu_async import (
    ConfigError,
    Gateway,
    ReferenceToVideo,
    Subject,
    TextToVideo,
    UnsupportedError,
    ValidationError,
    ViduClient,
    ViduError,
)
from vidu_async.protocol.gateway import DOCUMENTED
from vidu_async.testing import Reply, Simulator

KEY = "sk-ways"
DAWN = Path(__file__).parent.parent / "examples" / "dawn.png"
FOX = TextToVideo(model="viduq3-turbo", prompt="a fox")


@define
class Seen:
    """What a server was asked: the raw target, the headers and the JSON of each request."""

    url: str = ""
    requests: list[tuple[str, str, dict[str, str], Any]] = field(factory=list)
    refuses: dict[str, int] = field(factory=dict)
    """Status by the path's last part."""

    @property
    def last(self) -> tuple[str, str, dict[str, str], Any]:
        """The latest request."""
        return self.requests[-1]

    @property
    def counted(self) -> Counter[str]:
        """How many requests came for each target."""
        return Counter(target for _, target, _, _ in self.requests)

    async def answer(self, request: web.Request) -> web.Response:
        """Note a request and answer it as a task, or with the status to refuse it."""
        body = await request.json() if request.can_read_body else None
        self.requests.append((request.method, request.raw_path, dict(request.headers), body))
        status = self.refuses.get(request.path.rpartition("/")[2], 200)
        told = {"task_id": "7", "state": "created", "id": "7"} if status == 200 else {"message": "no such thing"}
        return web.json_response(told, status=status)


@asynccontextmanager
async def serving() -> AsyncIterator[Seen]:
    """Serve anything asked, on this machine."""
    seen = Seen()
    application = web.Application()
    application.router.add_route("*", "/{all:.*}", seen.answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    seen.url = site.name
    try:
        yield seen
    finally:
        await runner.cleanup()


def client(seen: Seen, **ways: Any) -> ViduClient:
    """Return a client of a gateway with these ways."""
    return ViduClient(KEY, gateway=Gateway(**{"base_url": seen.url, **ways}))


@pytest.mark.parametrize(
    ("ways", "header", "value"),
    [
        ({}, "Authorization", "Bearer sk-ways"),
        ({"auth_scheme": "Token"}, "Authorization", "Token sk-ways"),
        ({"auth_scheme": ""}, "Authorization", "sk-ways"),
        ({"auth_header": "Token", "auth_scheme": ""}, "Token", "sk-ways"),
        ({"auth_header": "X-API-Key", "auth_scheme": ""}, "X-API-Key", "sk-ways"),
    ],
)
async def test_the_key_travels_in_the_header_of_the_gateway_and_in_no_other(
    ways: dict[str, Any], header: str, value: str
) -> None:
    """For questions and for creations."""
    async with serving() as seen, client(seen, **ways) as vidu:
        await vidu.submit(FOX)
        await vidu.fetch_task("7")

        for _, _, headers, _ in seen.requests:
            assert {name: held for name, held in headers.items() if KEY in held} == {header: value}
        assert len(seen.requests) == 2


async def test_static_headers_go_to_the_gateway_with_every_request() -> None:
    """Such as a tenant's name."""
    async with serving() as seen, client(seen, headers={"X-Tenant": "den"}) as vidu:
        await vidu.submit(FOX)
        await vidu.fetch_task("7")

        assert [headers["X-Tenant"] for _, _, headers, _ in seen.requests] == ["den", "den"]


@pytest.mark.parametrize(
    "settings",
    [
        {"headers": {"Content-Length": "1"}},
        {"headers": {"transfer-encoding": "chunked"}},
        {"headers": {"authorization": "Bearer other"}},
        {"headers": {"Token": "t"}, "auth_header": "token"},
        {"headers": {"X": "a\r\nB: c"}},
        {"headers": {"X y": "a"}},
        {"headers": {"X": 1}},
        {"headers": "X: 1"},
        {"model_aliases": None},
        {"auth_header": "Auth orization"},
        {"auth_header": ""},
        {"auth_header": "Host"},
        {"headers": {"X-A": "1", "x-a": "2"}},
        {"headers": {"Content-Encoding": "gzip"}},
        {"headers": {"Expect": "100-continue"}},
        {"auth_scheme": "Bearer\r\nX: y"},
        {"auth_scheme": "Bearer "},
        {"auth_scheme": None},
        {"subject_key": "title"},
        {"models": "viduq3-turbo"},
        {"models": None},
        {"models": [1]},
        {"model_aliases": {"viduq3-turbo": 3}},
        {"model_aliases": ["viduq3-turbo"]},
        {"query_path": 5},
        {"query_path": "/v1/{id}/{foo}"},
        {"query_path": "tasks/{id}#x"},
        {"query_path": "tasks/{id}\n"},
        {"api_root": None},
        {"api_root": "https://x/ent"},
        {"api_root": "/ent/v2?x=1"},
        {"lists": "no"},
        {"lists": []},
        {"cancels": 1},
        {"allow_insecure": "no"},
        {"base_url": None},
        {"base_url": b"https://gateway.example"},
        {"base_url": "https://x y.example"},
        {"base_url": "https://gateway.example/a\nb"},
    ],
)
def test_a_setting_that_cannot_work_is_refused_at_once_by_its_name(settings: dict[str, Any]) -> None:
    """Before a request breaks over it, or carries a second key."""
    with pytest.raises(ConfigError) as refused:
        Gateway(**{"base_url": "https://gateway.example", **settings})

    assert str(refused.value).startswith(tuple(settings))


def test_an_empty_address_is_none() -> None:
    """It must not send the key to the default gateway."""
    with pytest.raises(ConfigError, match="base_url"):
        ViduClient(KEY, base_url="")


@pytest.mark.parametrize("proxy", ["localhost:3128", "socks5://127.0.0.1:1", "http://", 5, "socks5://u:hush@h:1"])
def test_what_is_no_http_proxy_is_refused_at_once(proxy: Any) -> None:
    """Its fault would be taken for the gateway's."""
    with pytest.raises(ConfigError, match="proxy=") as refused:
        ViduClient(KEY, proxy=proxy)

    assert "hush" not in str(refused.value)


@pytest.mark.parametrize(("name", "value"), [("ssl", "cert.pem"), ("gateway", "vidu"), ("limits", 5), ("strict", 1)])
def test_a_setting_of_another_kind_is_answered_with_its_kinds(name: str, value: Any) -> None:
    """By their public names."""
    with pytest.raises(ConfigError, match=rf"{name}= must be \w+( or \w+)*, not") as refused:
        ViduClient(KEY, **{name: value})

    assert "vidu_async." not in str(refused.value)


def test_static_headers_are_not_shown() -> None:
    """They may be secrets."""
    assert "hush" not in repr(Gateway(base_url="https://gateway.example", headers={"X-Tenant": "hush"}))


@pytest.mark.parametrize(
    ("ways", "before", "after"),
    [
        ({}, "/ent/v2/tasks/", "/creations"),
        ({"query_path": "task/{id}/creations"}, "/ent/v2/task/", "/creations"),
        ({"query_path": "tasks/{id}"}, "/ent/v2/tasks/", ""),
        ({"query_path": "/v1/videos/{id}"}, "/v1/videos/", ""),
        ({"query_path": "creations?task_id={id}"}, "/ent/v2/creations?task_id=", ""),
        ({"query_path": "query?a=1&task_id={id}&b=2", "api_root": "/v2"}, "/v2/query?a=1&task_id=", "&b=2"),
        ({"api_root": ""}, "/tasks/", "/creations"),
    ],
)
@pytest.mark.parametrize(
    "task_id",
    [
        "911045603801182209",
        "video_01HZXK3V7T",
        "5c5dcb3a-4e1f-4b0c-9d0a-0a4a3c1b2d3e",
        "a:b^^c",
        "2510-Aigc:x/y",
        "50% + 1 & 2=3#?",
        "狐",
    ],
)
async def test_an_id_of_any_alphabet_arrives_as_it_is(
    ways: dict[str, Any], before: str, after: str, task_id: str
) -> None:
    """In the path or in the query, at any root, whatever gateways put into their ids."""
    async with serving() as seen, client(seen, **ways) as vidu:
        task = await vidu.fetch_task(task_id)

    method, target, _, _ = seen.last
    assert method == "GET"
    assert target.startswith(before)
    assert target.endswith(after)
    quoted = target.removeprefix(before).removesuffix(after)
    if "?" in before:
        assert parse_qs(urlsplit(target).query)["task_id"] == [task_id]
    else:
        assert not set(quoted) & set("/?# ")
        assert unquote(quoted) == task_id
    assert task.id == task_id


async def test_a_prefix_is_part_of_every_path() -> None:
    """Resellers of many APIs have one a vendor."""
    async with serving() as seen, client(seen, base_url=f"{seen.url}/router/v1/vidu/ent/v2/") as vidu:
        await vidu.submit(FOX)
        await vidu.fetch_task("7")
        await vidu.cancel("7")

    assert [target for _, target, _, _ in seen.requests] == [
        "/router/v1/vidu/ent/v2/text2video",
        "/router/v1/vidu/ent/v2/tasks/7/creations",
        "/router/v1/vidu/ent/v2/tasks/7/cancel",
    ]


async def test_a_model_goes_out_under_the_gateways_own_name() -> None:
    """And any other as it is."""
    async with serving() as seen, client(seen, model_aliases={"viduq3-turbo": "vidu/q3-turbo"}) as vidu:
        await vidu.submit(FOX)
        assert seen.last[3]["model"] == "vidu/q3-turbo"
        await vidu.submit(TextToVideo(model="viduq2", prompt="a fox"))
        assert seen.last[3]["model"] == "viduq2"


@pytest.mark.parametrize("model", ["viduq3-pro", "their-q3"])
async def test_a_model_may_be_given_by_either_name(model: str) -> None:
    """Both are offered, and checked as what they are."""
    gateway = Gateway(base_url="https://gateway.example", models={"their-q3"}, model_aliases={"viduq3-pro": "their-q3"})
    async with Simulator(ways=gateway) as sim, sim.client(strict=True) as vidu:
        handle = await vidu.submit(TextToVideo(model=model, prompt="a fox"))
        assert sim.tasks[handle.task_id].model == "their-q3"
        with pytest.raises(ValidationError, match="viduq3-turbo"):
            await vidu.submit(FOX)


async def test_a_model_that_only_the_gateway_knows_is_not_doubted() -> None:
    """It says that it has it."""
    async with serving() as seen, client(seen, models={"viduq9"}) as vidu:
        await vidu.submit(TextToVideo(model="viduq9", prompt="a fox"))  # a warning would be an error here

    assert seen.last[3]["model"] == "viduq9"


@pytest.mark.parametrize(("subject_key", "sent"), [("name", {"name": "cat"}), ("id", {"id": "cat"})])
async def test_a_subject_goes_out_under_the_gateways_key(subject_key: str, sent: dict[str, str]) -> None:
    """Older gateways call its name its id."""
    request = ReferenceToVideo(
        model="viduq3-turbo", prompt="@cat", subjects=[Subject(name="cat", images=["https://example.com/cat.png"])]
    )
    async with serving() as seen, client(seen, subject_key=subject_key) as vidu:
        await vidu.submit(request)

    assert seen.last[3]["subjects"] == [{**sent, "images": ["https://example.com/cat.png"]}]


async def _use(vidu: ViduClient, ability: str) -> None:
    """Do what needs an endpoint that not every gateway has."""
    match ability:
        case "lists":
            [task async for task in vidu.tasks()]
        case "cancels":
            await vidu.cancel("7")
        case "credits":
            await vidu.credits()
        case "subjects":
            [subject async for subject in vidu.subjects()]
        case "uploads":
            await vidu.upload(DAWN)


ABILITIES = {"lists": "tasks", "cancels": "cancel", "credits": "credits", "subjects": "subjects", "uploads": "uploads"}


@pytest.mark.parametrize("ability", ABILITIES)
async def test_an_endpoint_said_to_be_missing_is_not_asked(ability: str) -> None:
    """The answer is known."""
    async with serving() as seen, client(seen, **{ability: False}) as vidu:
        with pytest.raises(UnsupportedError, match="cannot"):
            await _use(vidu, ability)

    assert not seen.requests


@pytest.mark.parametrize("ability", ABILITIES)
async def test_an_endpoint_found_missing_is_not_asked_again(ability: str) -> None:
    """Nobody said so before, so it was found out, once."""
    async with serving() as seen, client(seen) as vidu:
        seen.refuses[ABILITIES[ability]] = 405
        for _ in range(3):
            with pytest.raises(UnsupportedError, match="cannot"):
                await _use(vidu, ability)

    assert len(seen.requests) == 1


async def test_a_gateways_passing_trouble_is_not_taken_for_a_missing_endpoint() -> None:
    """It may be well again in a minute."""

    async def trouble(*_: object) -> Reply | None:
        return left.pop() if left else None

    left = [Reply(404, {"error": {"code": "model_not_found", "message": "No available channel"}})]
    async with Simulator(intercept=trouble) as sim, sim.client() as vidu:
        with pytest.raises(ViduError, match="No available channel"):
            await vidu.credits()
        assert (await vidu.credits()).remaining


async def test_a_task_that_cannot_be_found_does_not_end_all_cancelling() -> None:
    """A bare 404 may be about the endpoint or about this task."""
    async with serving() as seen, client(seen) as vidu:
        seen.refuses["cancel"] = 404
        with pytest.raises(UnsupportedError):
            await vidu.cancel("7")
        seen.refuses.clear()
        await vidu.cancel("8")


async def test_storing_a_subject_where_there_are_none_is_refused_unpaid() -> None:
    """It would cost credits."""
    async with serving() as seen, client(seen, subjects=False) as vidu:
        with pytest.raises(ViduError, match="cannot store subjects"):
            await vidu.create_subject(Subject(name="cat", images=["https://example.com/cat.png"]))

    assert not seen.requests


# What pages of gateways say: the address of a creation and of a query about task 7.
PLACES = {
    "kkiai": ("https://www.kkiai.com/ent/v2/img2video", "https://www.kkiai.com/ent/v2/tasks/7/creations"),
    "Vidu": ("https://api.vidu.com/ent/v2/img2video", "https://api.vidu.com/ent/v2/tasks/7/creations"),
    "Vidu, mainland China": ("https://api.vidu.cn/ent/v2/img2video", "https://api.vidu.cn/ent/v2/tasks/7/creations"),
    "octopusx": ("https://octopusx.ai/vidu/ent/v2/img2video", "https://octopusx.ai/vidu/ent/v2/task/7/creations"),
    "gpt.ge": ("https://api.gpt.ge/ent/v2/img2video", "https://api.gpt.ge/task/7"),
    "deepwl": ("https://zx1.deepwl.net/vidu/ent/v2/img2video", "https://zx1.deepwl.net/vidu/ent/v2/task/7/creations"),
    "novapai": (
        "https://api.novapai.ai/router/v1/vidu/ent/v2/img2video",
        "https://api.novapai.ai/router/v1/vidu/ent/v2/tasks/7/creations",
    ),
    "Comfy": ("https://api.comfy.org/proxy/vidu/img2video", "https://api.comfy.org/proxy/vidu/tasks/7/creations"),
    "Baidu Qianfan": (
        "https://qianfan.baidubce.com/beta/video/generations/vidu/v2/img2video",
        "https://qianfan.baidubce.com/beta/video/generations/vidu/v2/creations?task_id=7",
    ),
}


@pytest.mark.parametrize(("name", "places"), PLACES.items(), ids=PLACES)
def test_a_documented_gateway_is_asked_at_its_documented_places(name: str, places: tuple[str, str]) -> None:
    """As its own pages print them."""
    gateway = DOCUMENTED[name]

    assert (gateway.url("img2video"), gateway.url(gateway.task_path("7"))) == places


@pytest.mark.parametrize("name", DOCUMENTED)
def test_a_documented_gateway_is_found_by_its_host_or_its_full_address(name: str) -> None:
    """VIDU_BASE_URL alone is enough."""
    gateway = DOCUMENTED[name]
    host = "/".join(gateway.base_url.split("/")[:3])

    assert Gateway.at(host) == Gateway.at(gateway.base_url) == Gateway.at(gateway.url("")) == gateway
