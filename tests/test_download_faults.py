"""What can go wrong between a store and the disk, row by row: what is paid for comes out whole, or not at all."""

from __future__ import annotations

import asyncio
import errno
import gzip
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import faulty
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pictures import mp4
from shelf import EXPIRED, MP4, Shelf

from vidu_async import Creation, DownloadError, Limits, Task, TaskState, ViduClient
from vidu_async.download import SIZE_LIMIT, Download
from vidu_async.targets import Target
from vidu_async.testing import run_virtual

Steps = Callable[[faulty.FaultyServer, ViduClient], Coroutine[Any, Any, None]]


def play(steps: Steps, *shelves: faulty.Script, looks: list[faulty.Script] | None = None, **settings: Any) -> None:
    """Run steps on virtual time, with scripts for `/film` one after the other, the last for ever."""
    scripts = list(shelves)

    async def film(connection: faulty.Connection, asked: faulty.Asked) -> None:
        await (scripts.pop(0) if len(scripts) > 1 else scripts[0])(connection, asked)

    async def main() -> None:
        async with faulty.FaultyServer() as server:
            server.looks = looks or [faulty.success(f"{server.url}/film")]
            server.others = {"GET /film": film}
            async with ViduClient("test-key", base_url=server.url, **settings) as vidu:
                await steps(server, vidu)

    run_virtual(main())


def task(server: faulty.FaultyServer, path: str = "/film", **links: Any) -> Task:
    """Return a finished task whose result is there."""
    creation = Creation(task_id="77", id="1", url=server.url + path, **links)
    return Task(id="77", state=TaskState.SUCCESS, type="img2video", creations=(creation,))


def saves(target: Path, content: bytes = MP4) -> Steps:
    """Return the steps that download into a folder, and find the content there and nothing else."""

    async def steps(server: faulty.FaultyServer, vidu: ViduClient) -> None:
        path = await vidu.download(task(server), target)
        assert path.read_bytes() == content
        assert os.listdir(target) == [path.name]

    return steps


def fails(target: Path, said: str, left: list[str] | None = None, **expected: Any) -> Steps:
    """Return the steps that fail to download, and what they leave in the folder."""

    async def steps(server: faulty.FaultyServer, vidu: ViduClient) -> None:
        with pytest.raises(DownloadError, match=said) as caught:
            await vidu.download(task(server), target)
        assert sorted(os.listdir(target)) == (left or [])
        for name, value in expected.items():
            assert getattr(caught.value, name) == value
        assert caught.value.paid == "yes"

    return steps


# C01: the link has expired


@pytest.mark.parametrize(
    "refusal",
    [
        faulty.answer(403, EXPIRED, Content_Type="application/xml"),
        faulty.answer(403, b""),
        faulty.answer(400, EXPIRED),
        faulty.answer(404, b"gone"),
        faulty.answer(200, EXPIRED, Content_Type="application/xml"),
    ],
)
def test_an_expired_link_is_asked_for_anew_once(tmp_path: Path, refusal: faulty.Script) -> None:
    """C01: the task says it."""
    shelf = Shelf()

    async def steps(server: faulty.FaultyServer, vidu: ViduClient) -> None:
        server.others["GET /old"] = refusal
        path = await vidu.download(task(server, "/old"), tmp_path)
        assert path.read_bytes() == MP4
        assert [asked.path for asked in server.queries] == ["/ent/v2/tasks/77/creations"]

    play(steps, shelf)


def test_a_fresh_link_that_is_refused_too_is_an_error(tmp_path: Path) -> None:
    """C01: and no third one is asked for."""

    async def steps(server: faulty.FaultyServer, vidu: ViduClient) -> None:
        await fails(tmp_path, "77 was not saved: a fresh link answered 403, too", is_passing=False)(server, vidu)
        assert len(server.queries) == 1

    play(steps, faulty.answer(403, EXPIRED))


def test_a_link_that_expires_in_the_middle_is_gone_on_with_under_the_fresh_one(tmp_path: Path) -> None:
    """C01 and C02: it is the same file, so what has come stays."""
    old, new = Shelf(cuts=[200_000]), Shelf()
    play(saves(tmp_path), old, faulty.answer(403, EXPIRED), new)
    assert new.starts == ["200000"]


def test_a_creation_is_found_again_by_its_id_and_its_variant(tmp_path: Path) -> None:
    """C01: also where a task has several."""
    cover = b"\xff\xd8\xff\xe0" + bytes(500)
    later = [{"id": name, "url": "https://x.invalid", "cover_url": f"/{name}"} for name in "321"]

    async def steps(server: faulty.FaultyServer, vidu: ViduClient) -> None:
        for row in later:
            row["cover_url"] = f"{server.url}/cover-{row['id']}"
        server.looks = [faulty.state("success", creations=later)]
        server.others |= {"GET /old": faulty.answer(403, EXPIRED), "GET /cover-2": faulty.answer(200, cover)}
        creations = tuple(Creation(task_id="77", id=name, cover_url=f"{server.url}/old") for name in "123")
        path = await vidu.download(creations[1], tmp_path, variant="cover_url")
        assert (path.name, path.read_bytes()) == ("77-2-cover.jpg", cover)

    play(steps, Shelf())


# C02 to C04: cuts


def test_a_download_goes_on_where_it_was_cut(tmp_path: Path) -> None:
    """C02: asking for the rest of the same file."""
    shelf = Shelf(cuts=[300_000, 100_000])
    play(saves(tmp_path), shelf)
    assert shelf.starts == ["", "300000", "400000"]
    assert [asked.headers.get("if-range") for asked in shelf.asked] == [None, '"v1"', '"v1"']


@given(cuts=st.lists(st.integers(0, len(MP4)), max_size=6))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_wherever_it_is_cut_it_is_whole(tmp_path_factory: pytest.TempPathFactory, cuts: list[int]) -> None:
    """C02: as long as there are not five in a row that bring nothing."""
    some = [cut for cut in cuts if cut >= 70_000]
    nothing = [cut for cut in cuts if cut < 70_000][:4]
    play(saves(tmp_path_factory.mktemp("films")), Shelf(cuts=some + nothing))


def test_a_file_that_changed_meanwhile_is_begun_anew(tmp_path: Path) -> None:
    """C02: two halves of two files are no file."""
    other = MP4[::-1]
    other = MP4[:32] + other
    play(saves(tmp_path, other), Shelf(cuts=[300_000]), Shelf(other, etag='"v2"'))


@pytest.mark.parametrize("etag", ["", 'W/"v1"', "v1", '"'])
def test_a_file_that_nothing_identifies_is_begun_anew(tmp_path: Path, etag: str) -> None:
    """C02: a weak ETag is no promise of the same bytes."""
    shelf = Shelf(etag=etag, cuts=[300_000])
    play(saves(tmp_path), shelf)
    assert shelf.starts == ["", ""]


def test_a_file_is_whole_after_many_cuts_that_each_brought_something(tmp_path: Path) -> None:
    """C02: as long as it comes on it is gone on with."""
    shelf = Shelf(cuts=[70_000] * 7)
    play(saves(tmp_path), shelf)
    assert len(shelf.asked) == 8


def test_a_download_that_does_not_come_on_ends(tmp_path: Path) -> None:
    """C02: after five tries, and what has come stays for a later one."""
    shelf = Shelf(cuts=[300_000] + [0] * 20)
    left = [".77.part", ".77.part.etag"]
    play(fails(tmp_path, "77 was not saved: .*cut short", left, is_passing=True), shelf)
    assert len(shelf.asked) == 1 + 5

    again = Shelf()
    play(saves(tmp_path), again)
    assert again.starts == ["300000"]


def test_a_later_download_of_what_has_changed_begins_anew(tmp_path: Path) -> None:
    """C02: what was left of the old one is not mixed in."""
    play(fails(tmp_path, "cut short", [".77.part", ".77.part.etag"]), Shelf(cuts=[300_000] + [0] * 9))
    other = MP4[:32] + MP4[::-1]
    play(saves(tmp_path, other), Shelf(other, etag='"v2"'))


def test_what_is_left_of_another_result_is_not_gone_on_with(tmp_path: Path) -> None:
    """C02: an ETag tells apart the states of one result, not two."""
    other = MP4[:32] + MP4[::-1]

    async def steps(server: faulty.FaultyServer, vidu: ViduClient) -> None:
        server.others["GET /other"] = Shelf(other)
        with pytest.raises(DownloadError):
            await vidu.download(Creation(task_id="1", url=f"{server.url}/film"), tmp_path / "fox.mp4")
        path = await vidu.download(Creation(task_id="2", url=f"{server.url}/other"), tmp_path / "fox.mp4")
        assert path.read_bytes() == other

    play(steps, Shelf(cuts=[300_000] + [0] * 9))


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (faulty.answer(200, b""), "empty"),
        (faulty.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\n" + MP4), "cut short"),
        (faulty.raw(b'HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\nETag: "v"\r\n\r\n'), "cut short"),
    ],
)
def test_a_length_that_is_not_kept_is_an_error(tmp_path: Path, script: faulty.Script, said: str) -> None:
    """C03: and leaves nothing behind."""
    play(fails(tmp_path, said), script)


def test_half_a_film_is_not_taken_for_a_whole_one(tmp_path: Path) -> None:
    """C03: where only the connection's end says that it is all, its own table of contents tells."""
    head, film = b"HTTP/1.1 200 OK\r\n\r\n", mp4()
    cut, whole = faulty.raw(head + film[:-100]), faulty.raw(head + film)
    play(saves(tmp_path / "a", film), cut, cut, whole)
    play(fails(tmp_path / "b", "what has come is cut short", is_passing=True), cut)


def test_what_nobody_can_tell_to_be_whole_is_not_taken(tmp_path: Path) -> None:
    """C03: a kind that says nothing of its length, from a server that does not either."""
    play(
        fails(tmp_path, "does not say where the result ends"), faulty.raw(b"HTTP/1.1 200 OK\r\n\r\nID3\4" + bytes(999))
    )


def test_a_chunked_film_is_whole_at_its_last_chunk(tmp_path: Path) -> None:
    """C03: which is waited for."""
    chunk = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n" % (len(MP4), MP4)
    play(saves(tmp_path), faulty.raw(chunk), faulty.raw(chunk + b"0\r\n\r\n"))


def test_a_length_that_was_a_lie_leaves_nothing_behind(tmp_path: Path) -> None:
    """C03: the server itself says that there is no more."""

    async def lies(connection: faulty.Connection, asked: faulty.Asked) -> None:
        if "range" in asked.headers:
            await connection.answer(416, b"", Content_Range=f"bytes */{len(MP4)}")
        else:
            await connection.write(b'HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\nETag: "v"\r\n\r\n' + MP4)

    play(fails(tmp_path, "not saved"), lies)


@pytest.mark.parametrize(
    "answered",
    [
        "bytes 0-9/524320",
        "bytes 299999-524319/524320",
        "bytes */524320",
        "bytes 300000-524319/*",
        "nonsense",
        "",
    ],
)
def test_another_range_than_asked_for_is_not_taken(tmp_path: Path, answered: str) -> None:
    """C04: it is begun anew."""

    async def other_range(connection: faulty.Connection, asked: faulty.Asked) -> None:
        await connection.answer(206, MP4[:10], Content_Range=answered, ETag='"v1"')

    last = Shelf()
    play(saves(tmp_path), Shelf(cuts=[300_000]), other_range, last)
    assert last.starts == [""]


def test_the_rest_of_another_file_is_not_taken(tmp_path: Path) -> None:
    """C04: a server that does not know If-Range may send it."""

    async def rest(connection: faulty.Connection, asked: faulty.Asked) -> None:
        held = {"Content_Range": f"bytes 300000-{len(MP4) - 1}/{len(MP4)}", "ETag": '"v2"'}
        await connection.answer(206, bytes(len(MP4) - 300_000), **held)

    play(saves(tmp_path), Shelf(cuts=[300_000]), rest, Shelf())


@pytest.mark.parametrize("headers", [{}, {"ETag": 'W/"v1"'}, {"ETag": '"v1"', "Content_Encoding": "gzip"}])
def test_a_rest_that_does_not_say_of_what_is_not_taken(tmp_path: Path, headers: dict[str, str]) -> None:
    """C04: a range of the packed file is no range of the file."""

    async def rest(connection: faulty.Connection, asked: faulty.Asked) -> None:
        ranged = f"bytes 300000-{len(MP4) - 1}/{len(MP4)}"
        await connection.answer(206, bytes(len(MP4) - 300_000), Content_Range=ranged, **headers)

    play(saves(tmp_path), Shelf(cuts=[300_000]), rest, Shelf())


def test_a_server_without_ranges_sends_all_again(tmp_path: Path) -> None:
    """C04: 200 is all of it."""
    play(saves(tmp_path), Shelf(cuts=[300_000], ranges=False))


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_a_servers_passing_trouble_is_waited_out(tmp_path: Path, status: int) -> None:
    """As long as it says, up to two minutes."""
    busy = faulty.answer(status, b"", Retry_After="40")

    async def steps(server: faulty.FaultyServer, vidu: ViduClient) -> None:
        began = asyncio.get_running_loop().time()
        await saves(tmp_path)(server, vidu)
        assert 80 <= asyncio.get_running_loop().time() - began < 100

    play(steps, busy, busy, Shelf())


def test_a_servers_lasting_trouble_is_an_error_that_may_pass(tmp_path: Path) -> None:
    """After five tries."""
    play(fails(tmp_path, "the link answered 503", is_passing=True), faulty.answer(503, b""))


def test_a_silent_server_is_asked_again(tmp_path: Path) -> None:
    """After two minutes without a byte."""
    play(saves(tmp_path), faulty.hang, faulty.reset, faulty.close, Shelf())


# C05, C06, C14: what arrives


@pytest.mark.parametrize(
    "page",
    [
        b"<!DOCTYPE html><html>log in to see this film</html>",
        b'{"code": 403, "message": "expired"}',
        "Quota exceeded, sorry é…".encode() * 9,
        "<html><title>错误</title>".encode("gbk"),
        "<html>é</html>".encode("utf-16"),
        '{"错误": 403}'.encode("gbk"),
        b"\x89PNG\r\n\x1a\n" + bytes(100),
        b"\xff\xd8\xff\xe0" + bytes(100),
    ],
)
def test_a_page_or_a_picture_is_no_film(tmp_path: Path, page: bytes) -> None:
    """C05: whatever its status and type say."""
    play(fails(tmp_path, "the link answered", is_passing=False), faulty.answer(200, page, Content_Type="video/mp4"))


@pytest.mark.parametrize("status", [204, 304])
def test_answers_without_a_body_end(tmp_path: Path, status: int) -> None:
    """C05: the second one, too, which aiohttp reads from the same place; the event loop goes on."""
    nothing = faulty.raw(f"HTTP/1.1 {status} X\r\n\r\n".encode())
    for _ in range(2):
        play(fails(tmp_path, f"answered an empty file|the link answered {status}"), nothing)


def test_a_film_is_no_cover(tmp_path: Path) -> None:
    """C05: the other way round."""

    async def steps(server: faulty.FaultyServer, vidu: ViduClient) -> None:
        with pytest.raises(DownloadError, match=r"video/mp4 where the result is image"):
            await vidu.download(task(server, cover_url=f"{server.url}/film"), tmp_path, variant="cover_url")

    play(steps, Shelf())


def test_a_result_beyond_all_measure_is_refused(tmp_path: Path) -> None:
    """C06: at once, if its length is announced."""
    head = f'HTTP/1.1 200 OK\r\nContent-Length: {SIZE_LIMIT + 1}\r\nETag: "v"\r\n\r\n'.encode()
    play(fails(tmp_path, f"larger than {4 * 1024**3}"), faulty.raw(head + MP4))


@pytest.mark.parametrize("packed", [False, True])
def test_a_result_that_grows_beyond_measure_is_cut_off(tmp_path: Path, packed: bool) -> None:
    """C06 and C14: no length is announced, and what counts is what comes out."""
    content, coding = MP4 + bytes(5_000_000), "Content-Encoding: gzip\r\n" if packed else ""
    head = f"HTTP/1.1 200 OK\r\n{coding}Transfer-Encoding: chunked\r\n\r\n".encode()
    sent = gzip.compress(content) if packed else content

    async def steps(server: faulty.FaultyServer, vidu: ViduClient) -> None:
        async def never() -> Creation:
            raise AssertionError

        found = task(server).creations[0]
        wanted = Download(found, Target.of(tmp_path, "77", "error"), "url", "video", lambda *_: None, never, 2_000_000)
        with pytest.raises(DownloadError, match="larger than 2000000"):
            await wanted.run(vidu._bind())
        assert os.listdir(tmp_path) == []

    play(steps, faulty.raw(head + b"%x\r\n%s\r\n0\r\n\r\n" % (len(sent), sent)))


def test_a_compressed_result_comes_out_as_it_was_meant(tmp_path: Path) -> None:
    """C14: it was not asked for, so its length and its ranges are those of something else."""
    film = mp4()
    cut, packed = gzip.compress(film)[:-1000], gzip.compress(film)
    scripts = [faulty.answer(200, body, Content_Encoding="gzip", ETag='"v1"') for body in (cut, packed)]
    play(saves(tmp_path, film), *scripts)


def test_a_page_in_the_middle_does_not_cost_what_has_come(tmp_path: Path) -> None:
    """C05: it is looked at before anything is begun anew."""
    page = faulty.answer(200, b"<html>be back soon</html>")
    shelf = Shelf(cuts=[300_000])
    play(fails(tmp_path, "a page", left=[".77.part", ".77.part.etag"]), shelf, page)
    rest = Shelf()
    play(saves(tmp_path), rest)
    assert rest.starts == ["300000"]


# C09, C10: the disk


def _in_the_way(path: Path, what: str) -> None:
    match what:
        case "link":
            path.symlink_to(path.parent / "elsewhere")
        case "link to a file":
            (path.parent / "elsewhere").write_bytes(b"precious")
            path.symlink_to(path.parent / "elsewhere")
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "socket":
            with socket.socket(socket.AF_UNIX) as door:
                door.bind(str(path))


@pytest.mark.parametrize("exists", ["error", "skip", "overwrite"])
@pytest.mark.parametrize("what", ["link", "link to a file", "folder", "pipe", "socket"])
def test_a_target_that_is_no_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exists: Any, what: str
) -> None:
    """C09: nothing is written through it, nothing is replaced."""
    monkeypatch.chdir(tmp_path)  # a socket's name is short
    _in_the_way(Path("77.mp4"), what)
    before = Path("77.mp4").lstat()
    shelf = Shelf()

    async def steps(server: faulty.FaultyServer, vidu: ViduClient) -> None:
        for target in (tmp_path / "77.mp4", tmp_path):
            if what == "folder" and target != tmp_path:
                continue  # it is the folder to save in
            with pytest.raises(DownloadError, match=r"77\.mp4 is a .*no result is written there"):
                await vidu.download(task(server), target, exists=exists)

    play(steps, shelf)
    assert os.path.samestat(Path("77.mp4").lstat(), before)
    assert shelf.asked == []
    if what == "link to a file":
        assert Path("elsewhere").read_bytes() == b"precious"


def test_a_part_file_is_not_written_through_a_link(tmp_path: Path) -> None:
    """C09: its name can be guessed."""
    (tmp_path / "precious").write_bytes(b"mine")
    (tmp_path / ".77.part").symlink_to(tmp_path / "precious")
    left = [".77.part", "precious"]
    play(fails(tmp_path, "cannot write the result", left, errno=errno.ELOOP), Shelf())
    assert (tmp_path / "precious").read_bytes() == b"mine"


_FULL = """
import asyncio, resource, signal, sys
from vidu_async import Creation, DownloadError, ViduClient
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

async def main():
    async with ViduClient("test-key", base_url=sys.argv[1]) as vidu:
        creation = Creation(task_id="77", url=sys.argv[1] + "/film")
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
        try:
            await vidu.download(creation, sys.argv[2])
        except DownloadError as error:
            print(error.errno, error)

asyncio.run(main())
"""


async def test_a_disk_that_is_full_leaves_the_part_for_later(tmp_path: Path) -> None:
    """C10: a process may write no more than 200 kB to a file; the next one goes on there."""
    shelf = Shelf()
    async with faulty.FaultyServer() as server, ViduClient("test-key", base_url=server.url) as vidu:
        server.others = {"GET /film": shelf}
        command = [sys.executable, "-c", _FULL, server.url, str(tmp_path)]
        process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
        said = (await process.communicate())[0].decode()
        assert said.startswith(f"{errno.EFBIG} the result of task 77 was not saved: cannot write the result: ")
        assert (tmp_path / ".77.part").stat().st_size == 200_000

        path = await vidu.download(Creation(task_id="77", url=f"{server.url}/film"), tmp_path)
    assert path.read_bytes() == MP4
    assert shelf.starts == ["", "200000"]
    assert os.listdir(tmp_path) == ["77.mp4"]


# C12, C13: where links lead


@pytest.mark.parametrize(("hops", "is_followed"), [(1, True), (3, True), (4, False)])
def test_three_redirects_are_followed(tmp_path: Path, hops: int, is_followed: bool) -> None:
    """C12: each with the range that is asked for, and no fourth."""

    async def steps(server: faulty.FaultyServer, vidu: ViduClient) -> None:
        for hop in range(1, hops + 1):
            to = f"/hop{hop - 1}?sig=a%2Bb" if hop > 1 else "/film"
            server.others[f"GET /hop{hop}"] = faulty.answer(302, b"", Location=to)
        path = f"/hop{hops}"
        if is_followed:
            assert (await vidu.download(task(server, path), tmp_path)).read_bytes() == MP4
        else:
            with pytest.raises(DownloadError, match="more than 3 times"):
                await vidu.download(task(server, path), tmp_path)

    play(steps, Shelf())


def test_a_server_that_asks_for_a_password_or_sets_cookies_gets_nothing(tmp_path: Path) -> None:
    """C13: no key, no cookie, whatever it asks for."""
    seen: list[faulty.Asked] = []

    async def asks(connection: faulty.Connection, asked: faulty.Asked) -> None:
        seen.append(asked)
        headers = {"WWW_Authenticate": 'Basic realm="x"', "Set_Cookie": "a=b; Path=/"}
        await connection.answer(401, b"", **headers)

    async def steps(server: faulty.FaultyServer, vidu: ViduClient) -> None:
        with pytest.raises(DownloadError, match="401"):
            await vidu.download(task(server), tmp_path)

    play(steps, asks)
    assert len(seen) == 2
    for asked in seen:
        assert not {"authorization", "cookie"} & asked.headers.keys()
        assert "test-key" not in str(asked)


def test_a_signed_link_goes_out_as_it_was_signed(tmp_path: Path) -> None:
    """Written otherwise, its signature would be another."""
    query = "X-Amz-Signature=a%2Bb%3d%7E&key=a%2fb+c&empty=&x=%E4%BD%A0"
    shelf = Shelf()

    async def steps(server: faulty.FaultyServer, vidu: ViduClient) -> None:
        await vidu.download(task(server, f"/film?{query}"), tmp_path)

    play(steps, shelf)
    assert [asked.path for asked in shelf.asked] == [f"/film?{query}"]


@pytest.mark.parametrize("link", ["127.0.0.1:1?sig=hush", "127.0.0.1:1#hush", "fox:hush@127.0.0.1:1/film"])
def test_what_a_link_is_signed_with_is_told_to_nobody(tmp_path: Path, link: str) -> None:
    """Also if it has no path, or a password."""

    async def steps(_: faulty.FaultyServer, vidu: ViduClient) -> None:
        with pytest.raises(DownloadError, match=r"127\.0\.0\.1:1 cannot be reached") as caught:
            await vidu.download(Creation(task_id="77", url=f"http://{link}"), tmp_path)
        assert "hush" not in str(caught.value)

    play(steps, Shelf())


# C15: two at once


def test_a_second_download_to_the_same_file_is_refused(tmp_path: Path) -> None:
    """C15: before it asks for anything; afterwards it may."""
    shelf = Shelf(cuts=[300_000, 0])

    async def steps(server: faulty.FaultyServer, vidu: ViduClient) -> None:
        first = asyncio.create_task(vidu.download(task(server), tmp_path, exists="overwrite"))
        while not (tmp_path / ".77.part").exists():
            await asyncio.sleep(0)
        with pytest.raises(DownloadError, match="another download is writing to") as caught:
            await vidu.download(task(server), tmp_path, exists="overwrite")
        assert caught.value.is_passing
        assert (await first).read_bytes() == MP4
        await vidu.download(task(server), tmp_path, exists="overwrite")

    play(steps, shelf)
    assert os.listdir(tmp_path) == ["77.mp4"]


def test_a_cancelled_download_is_gone_on_with(tmp_path: Path) -> None:
    """What has come, and can be verified, stays."""
    shelf = Shelf()

    async def slowly(connection: faulty.Connection, asked: faulty.Asked) -> None:
        head = f'HTTP/1.1 200 OK\r\nContent-Length: {len(MP4) + 2**20}\r\nETag: "v1"\r\n\r\n'.encode()
        await connection.write(head + MP4 + bytes(2**20 - 1))
        await connection.reader.read()

    async def steps(server: faulty.FaultyServer, vidu: ViduClient) -> None:
        downloading = asyncio.create_task(vidu.download(task(server), tmp_path))
        part = tmp_path / ".77.part"
        while not (part.exists() and part.stat().st_size >= 2**20):
            await asyncio.sleep(0.01)
        downloading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await downloading
        shelf.content = MP4 + bytes(2**20)
        path = await vidu.download(task(server), tmp_path)
        assert path.read_bytes() == shelf.content

    play(steps, slowly, shelf)
    assert int(shelf.starts[0]) >= 2**20


# A bound of their own


def test_no_more_downloads_at_once_than_allowed(tmp_path: Path) -> None:
    """The others wait their turn, and waiting is no fault of the server's."""

    async def slowly(connection: faulty.Connection, asked: faulty.Asked) -> None:
        await asyncio.sleep(50)
        await connection.answer(200, MP4)

    async def steps(server: faulty.FaultyServer, vidu: ViduClient) -> None:
        films = [Creation(task_id=str(number), url=f"{server.url}/film") for number in range(20)]
        paths = await asyncio.gather(*(vidu.download(film, tmp_path) for film in films))
        assert len(set(paths)) == 20
        assert server.most_open == 4

    play(steps, slowly, limits=Limits(downloads=4))


def test_a_limit_that_is_no_number_is_refused() -> None:
    """When it is made."""
    for wrong in (0, None, 1.5, True):
        with pytest.raises(Exception, match="downloads"):
            Limits(downloads=wrong)  # type: ignore[arg-type]
