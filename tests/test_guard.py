"""Where links may lead: over real sockets, with names that are looked up in a list of the test's own."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import faulty
import pytest
from aiohttp.resolver import DefaultResolver, ThreadedResolver
from named import NamedLoop
from shelf import MP4, Shelf
from yarl import URL

from vidu_async import Creation, DownloadError, Gateway, ProtocolError, ViduClient
from vidu_async.guard import Guard, is_public

needs_asyncios_resolver = pytest.mark.skipif(
    DefaultResolver is not ThreadedResolver, reason="names are looked up past the event loop"
)

PRIVATE = [
    "127.0.0.1",
    "127.9.9.9",
    "::1",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "198.18.0.5",
    "fd00::1",
    "::ffff:127.0.0.1",
    "::ffff:a00:1",
    "64:ff9b::a00:1",
    "2002:a00:1::1",
    "fec0::1",
    "::127.0.0.1",
    "::ffff:0:10.0.0.1",
    "64:ff9b:1::a00:1",
]
BEYOND = [
    "169.254.169.254",
    "fe80::1",
    "fe80::1%eth0",
    "0.0.0.0",
    "::",
    "224.0.0.1",
    "ff02::1",
    "::ffff:169.254.169.254",
]
PUBLIC = ["8.8.8.8", "52.82.1.1", "2600:1f18::1", "64:ff9b::808:808", "::ffff:8.8.8.8"]


def check(address: str, gateway: str) -> None:
    """Look at a link to an address, as one of this gateway's."""

    async def look() -> None:
        guard = Guard(gateway)
        host = f"[{address}]" if ":" in address else address
        try:
            await guard.check(URL(f"https://{host}/fox.mp4"), None)
        finally:
            await guard.close()

    asyncio.run(look())


@pytest.mark.parametrize("address", [*PRIVATE, *BEYOND])
def test_a_public_gateways_link_into_a_local_network_is_refused(address: str) -> None:
    """C11: in whatever way the address is written."""
    assert not is_public(address)
    with pytest.raises(ProtocolError, match="an address of a local network"):
        check(address, "https://8.8.8.8")


@pytest.mark.parametrize("address", PUBLIC)
def test_a_link_into_the_internet_is_followed(address: str) -> None:
    """Whatever gateway it comes from."""
    assert is_public(address)
    for gateway in ("https://8.8.8.8", "http://127.0.0.1", "http://[::1]:80"):
        check(address, gateway)


@pytest.mark.parametrize("address", PRIVATE)
@pytest.mark.parametrize("gateway", ["http://127.0.0.1:8080", "https://192.168.1.9", "https://[fd00::9]"])
def test_a_local_gateways_results_may_be_local(address: str, gateway: str) -> None:
    """As those of a simulator, or of a relay in the same network, are."""
    check(address, gateway)


@pytest.mark.parametrize("address", BEYOND)
def test_a_local_gateways_link_to_what_tells_a_machine_its_secrets_is_refused(address: str) -> None:
    """C11: 169.254.169.254 is no place for results."""
    with pytest.raises(ProtocolError, match="local network"):
        check(address, "http://127.0.0.1:8080")


def test_a_gateway_on_a_link_may_have_its_results_there() -> None:
    """It is where the user has it."""
    check("169.254.7.7", "https://169.254.7.1")


async def from_a_name(tmp_path: Path, gateway: str, host: str) -> list[faulty.Asked]:
    """Download by a host's name from a server on 127.0.0.1, and return what it was asked."""
    shelf = Shelf()
    async with faulty.FaultyServer() as server:
        server.others = {"GET /film": shelf}
        async with ViduClient("test-key", gateway=Gateway(base_url=gateway)) as vidu:
            await vidu.download(Creation(task_id="7", url=f"http://{host}:{server.port}/film"), tmp_path / "7.mp4")
    assert (tmp_path / "7.mp4").read_bytes() == MP4
    return shelf.asked


def run_named(main: Any, *answers: list[str]) -> Any:
    """Run on virtual time with these answers to questions for names."""
    with asyncio.Runner(loop_factory=lambda: NamedLoop(*answers)) as runner:
        return runner.run(main)


@needs_asyncios_resolver
def test_a_name_that_leads_into_the_local_network_is_refused(tmp_path: Path) -> None:
    """C17: the addresses that are looked at are those that would be connected to."""
    with pytest.raises(DownloadError, match=r"results\.test \(127\.0\.0\.1\), an address of a local network"):
        run_named(from_a_name(tmp_path, "https://8.8.8.8", "results.test"), ["127.0.0.1"])


@needs_asyncios_resolver
def test_a_name_that_changes_its_mind_gains_nothing(tmp_path: Path) -> None:
    """C17: it is looked up once, and what was found is connected to; the second answer is the gateway's."""
    with pytest.raises(DownloadError, match="local network"):
        run_named(from_a_name(tmp_path, "https://vidu.test", "results.test"), ["127.0.0.1"], ["8.8.8.8"])


@needs_asyncios_resolver
def test_a_local_gateways_name_makes_local_results_possible(tmp_path: Path) -> None:
    """Behind a name as behind an address."""
    assert run_named(from_a_name(tmp_path, "https://vidu.test", "results.test"), ["127.0.0.1"], ["10.1.2.3"])


@needs_asyncios_resolver
def test_of_several_addresses_the_local_ones_are_left_out(tmp_path: Path) -> None:
    """The others are as good as ever; here they are reached as little as their network."""
    guard_answers = (["10.0.0.1", "8.8.8.8"], ["9.9.9.9"])

    async def resolve() -> list[str]:
        guard = Guard("https://vidu.test")
        return [one["host"] for one in await guard.resolve("results.test", 443)]

    assert run_named(resolve(), *guard_answers) == ["8.8.8.8"]


@pytest.mark.parametrize(
    "location",
    [
        "file:///etc/passwd",
        "ftp://127.0.0.1/film",
        "gopher://127.0.0.1",
        "http://169.254.169.254/latest/meta-data/",
        "http://[::ffff:169.254.169.254]/",
        "http://0.0.0.0/film",
        "http://2130706433/film",
        "http://0177.0.0.1/film",
        "//",
        "http://",
        "javascript:alert(1)",
    ],
)
async def test_a_redirect_to_where_nothing_should_come_from_is_refused(tmp_path: Path, location: str) -> None:
    """C11: and nothing is left of it."""
    async with faulty.FaultyServer() as server, ViduClient("test-key", base_url=server.url) as vidu:
        server.others = {"GET /film": faulty.answer(302, b"", Location=location)}
        with pytest.raises(DownloadError) as caught:
            await vidu.download(Creation(task_id="7", url=f"{server.url}/film"), tmp_path)
        assert not caught.value.is_passing
    assert list(tmp_path.iterdir()) == []


def test_a_redirect_out_of_encryption_is_refused() -> None:
    """C11: from https on only https."""

    async def hop(before: str, to: str) -> None:
        await Guard("https://8.8.8.8").check(URL(to), URL(before))

    asyncio.run(hop("http://8.8.8.8/a", "http://8.8.8.8/b"))
    asyncio.run(hop("https://8.8.8.8/a", "https://8.8.8.8/b"))
    with pytest.raises(ProtocolError, match="from https on to http at 8.8.8.8"):
        asyncio.run(hop("https://8.8.8.8/a", "http://8.8.8.8/b"))


@pytest.mark.parametrize("address", ["169.254.169.254", "[fe80::1]"])
async def test_nothing_is_uploaded_to_where_nothing_should_go(address: str) -> None:
    """An answer names the storage, too."""
    async with faulty.FaultyServer() as server, ViduClient("test-key", base_url=server.url) as vidu:
        put_url = f"https://{address}/put?sig=1"
        server.others = {"POST /tools/v2/files/uploads": faulty.answer(200, {"id": "1", "put_url": put_url})}
        with pytest.raises(ProtocolError, match="an address of a local network"):
            await vidu.upload((Path(__file__).parent.parent / "examples" / "dawn.png").read_bytes())
        assert server.connections == 1


@pytest.mark.parametrize(
    "link", ["http://127.0.0.1:99999/a", "http://[::1/a", "http://[zz]/a", f"http://{'a' * 70}.com/a", "http://a..b/a"]
)
async def test_what_is_no_address_is_not_tried_again(tmp_path: Path, link: str) -> None:
    """It will be none in an hour either."""
    async with ViduClient("test-key", base_url="http://127.0.0.1:1") as vidu:
        with pytest.raises(DownloadError, match=r"is no URL|is no name of a host") as caught:
            await vidu.download(Creation(task_id="7", url=f"{link}?sig=hush"), tmp_path)
    assert not caught.value.is_passing
    assert "hush" not in str(caught.value)


async def test_a_links_own_scheme_is_looked_at_too(tmp_path: Path) -> None:
    """Not only that of a redirect."""
    async with ViduClient("test-key", base_url="http://127.0.0.1:1") as vidu:
        for link in ("file:///etc/passwd", "data:video/mp4;base64,AAAA", "fox.mp4"):
            with pytest.raises(DownloadError, match="only http"):
                await vidu.download(Creation(task_id="7", url=link), tmp_path)
