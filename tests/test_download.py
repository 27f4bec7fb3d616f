"""From a finished task to a file: whole or not at all, under a name of our own, and without the key."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import faulty
import pytest
from attrs import evolve

from vidu_async import ConfigError, Creation, DownloadError, Task, TaskState, Timeouts, ViduClient
from vidu_async.kinds import SUFFIXES, kind_of

MP4 = b"\x00\x00\x00\x18ftypisom" + bytes(range(256)) * 8


@pytest.fixture
async def server() -> AsyncIterator[faulty.FaultyServer]:
    """A server with one film."""
    async with faulty.FaultyServer() as running:
        running.others = {"GET /film": faulty.answer(200, MP4, Content_Type="video/mp4")}
        yield running


@pytest.fixture
async def vidu(server: faulty.FaultyServer) -> AsyncIterator[ViduClient]:
    """A client of it."""
    async with ViduClient("test-key", base_url=server.url, timeouts=Timeouts(read=0.3)) as client:
        yield client


def task(server: faulty.FaultyServer, path: str = "/film", task_id: str = "77", **links: Any) -> Task:
    """Return a finished task whose result is there."""
    creation = Creation(task_id=task_id, id="1", url=server.url + path, **links)
    return Task(id=task_id, state=TaskState.SUCCESS, creations=(creation,))


async def test_a_result_is_saved_under_its_task_id(
    server: faulty.FaultyServer, vidu: ViduClient, tmp_path: Path
) -> None:
    """With the suffix that its first bytes show, byte for byte, and with nothing else left behind."""
    path = await vidu.download(task(server), tmp_path / "new" / "folder")
    assert path == tmp_path / "new" / "folder" / "77.mp4"
    assert path.read_bytes() == MP4
    assert os.listdir(path.parent) == ["77.mp4"]


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("film.mov", "film.mov"),
        ("out/", "out/77.mp4"),
        ("out", "out/77.mp4"),
        ("v1.5/", "v1.5/77.mp4"),
        (".", "77.mp4"),
    ],
)
async def test_a_target_is_a_folder_or_a_file(
    server: faulty.FaultyServer, vidu: ViduClient, tmp_path: Path, target: str, expected: str
) -> None:
    """A trailing slash, an existing folder or a name without suffix mean a folder."""
    given = f"{tmp_path}/{target}"
    assert await vidu.download(task(server), given) == tmp_path / expected


@pytest.mark.parametrize("target", ["plain", "device"])
async def test_a_target_without_a_suffix_that_is_no_folder_is_that_file(
    server: faulty.FaultyServer, vidu: ViduClient, tmp_path: Path, target: str
) -> None:
    """It is not taken for a folder, and not written to."""
    (tmp_path / "plain").write_bytes(b"mine")
    with pytest.raises(DownloadError, match="exists already|is a device"):
        await vidu.download(task(server), tmp_path / "plain" if target == "plain" else "/dev/null")
    assert server.connections == 0
    assert await vidu.download(task(server), tmp_path / "plain", exists="overwrite") == tmp_path / "plain"


async def test_no_download_carries_the_key(server: faulty.FaultyServer, vidu: ViduClient, tmp_path: Path) -> None:
    """Not even one from the gateway itself, and no cookies either."""
    seen: list[faulty.Asked] = []

    async def film(connection: faulty.Connection, asked: faulty.Asked) -> None:
        seen.append(asked)
        await connection.answer(200, MP4, Set_Cookie="session=1")

    server.others = {"GET /film": film}
    await vidu.download(task(server), tmp_path / "a.mp4")
    await vidu.download(task(server), tmp_path / "b.mp4")
    for asked in seen:
        assert not {"authorization", "cookie"} & asked.headers.keys()
        assert asked.headers["accept-encoding"] == "identity"
        assert "test-key" not in str(asked)


async def test_a_file_that_is_there_is_an_error_by_default(
    server: faulty.FaultyServer, vidu: ViduClient, tmp_path: Path
) -> None:
    """Nothing is asked of the server, and the file stays as it is."""
    (tmp_path / "77.mp4").write_bytes(b"mine")
    with pytest.raises(DownloadError, match="exists already"):
        await vidu.download(task(server), tmp_path)
    assert server.connections == 0
    assert (tmp_path / "77.mp4").read_bytes() == b"mine"


async def test_a_file_that_is_there_can_be_skipped_overwritten_or_stepped_aside(
    server: faulty.FaultyServer, vidu: ViduClient, tmp_path: Path
) -> None:
    """Skipping asks nothing of the server."""
    (tmp_path / "77.mp4").write_bytes(b"mine")
    assert await vidu.download(task(server), tmp_path, exists="skip") == tmp_path / "77.mp4"
    assert server.connections == 0
    assert await vidu.download(task(server), tmp_path, exists="rename") == tmp_path / "77-1.mp4"
    assert await vidu.download(task(server), tmp_path, exists="rename") == tmp_path / "77-2.mp4"
    assert (tmp_path / "77.mp4").read_bytes() == b"mine"
    await vidu.download(task(server), tmp_path, exists="overwrite")
    assert (tmp_path / "77.mp4").read_bytes() == MP4


async def test_what_comes_in_the_meantime_is_skipped_too(
    server: faulty.FaultyServer, vidu: ViduClient, tmp_path: Path
) -> None:
    """To skip is never to overwrite, and nothing else is left."""

    async def film(connection: faulty.Connection, _: faulty.Asked) -> None:
        (tmp_path / "77.mp4").write_bytes(b"mine")
        await connection.answer(200, MP4)

    server.others = {"GET /film": film}
    assert await vidu.download(task(server), tmp_path, exists="skip") == tmp_path / "77.mp4"
    assert (tmp_path / "77.mp4").read_bytes() == b"mine"
    assert os.listdir(tmp_path) == ["77.mp4"]


async def test_a_picture_of_the_same_name_is_no_film(
    server: faulty.FaultyServer, vidu: ViduClient, tmp_path: Path
) -> None:
    """Such as its cover: that it is there does not make the film superfluous."""
    (tmp_path / "77.jpg").write_bytes(b"cover")
    film = evolve(task(server), type="img2video")
    assert await vidu.download(film, tmp_path, exists="skip") == tmp_path / "77.mp4"
    assert sorted(os.listdir(tmp_path)) == ["77.jpg", "77.mp4"]


async def test_several_results_without_ids_are_all_saved(
    server: faulty.FaultyServer, vidu: ViduClient, tmp_path: Path
) -> None:
    """Some gateways name none."""
    server.others["GET /other"] = faulty.answer(200, MP4 + b"other")
    several = tuple(Creation(task_id="77", url=server.url + path) for path in ("/film", "/other"))
    found = Task(id="77", state=TaskState.SUCCESS, creations=several)
    paths = await vidu.download_all(found, tmp_path, exists="skip")
    assert [path.read_bytes() for path in paths] == [MP4, MP4 + b"other"]


async def test_an_unknown_word_for_exists_is_refused(
    server: faulty.FaultyServer, vidu: ViduClient, tmp_path: Path
) -> None:
    """Before anything is overwritten."""
    with pytest.raises(ConfigError, match="exists="):
        await vidu.download(task(server), tmp_path, exists="clobber")  # type: ignore[arg-type]


BROKEN: dict[str, tuple[faulty.Script, str]] = {
    "refused": (faulty.answer(402, b""), "402"),
    "a page": (faulty.answer(200, b"<html>log in to see this film</html>"), "a page instead of a result"),
    "an error in JSON": (faulty.answer(200, {"code": 403}), "a page instead of a result"),
    "nothing": (faulty.answer(200, b""), "empty"),
    "a circle": (faulty.answer(302, b"", Location="/film"), "was not saved"),
}


@pytest.mark.parametrize(("script", "said"), BROKEN.values(), ids=BROKEN)
async def test_what_does_not_arrive_leaves_nothing_behind(
    server: faulty.FaultyServer, vidu: ViduClient, tmp_path: Path, script: faulty.Script, said: str
) -> None:
    """No partial file, under no name."""
    server.others = {"GET /film": script}
    with pytest.raises(DownloadError, match=said) as caught:
        await vidu.download(task(server), tmp_path)
    assert os.listdir(tmp_path) == []
    assert caught.value.__context__ is None


async def test_a_cancelled_download_leaves_nothing_behind(
    server: faulty.FaultyServer, vidu: ViduClient, tmp_path: Path
) -> None:
    """The part-file goes with it."""
    begun = asyncio.Event()

    async def slowly(connection: faulty.Connection, _: faulty.Asked) -> None:
        await connection.write(b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n" + MP4)
        begun.set()
        await connection.reader.read()

    server.others = {"GET /film": slowly}
    downloading = asyncio.create_task(vidu.download(task(server), tmp_path))
    await begun.wait()
    await asyncio.sleep(0.05)
    downloading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await downloading
    assert os.listdir(tmp_path) == []


class _Crowded(ThreadPoolExecutor):
    """Threads of which no more can be started once `is_full`."""

    is_full = False

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Start one, or say that there is none."""
        if self.is_full:
            raise RuntimeError("can't start new thread")
        return super().submit(fn, *args, **kwargs)


async def test_a_machine_without_threads_is_told(server: faulty.FaultyServer, vidu: ViduClient, tmp_path: Path) -> None:
    """Rather than waited for: nobody would end the wait."""
    threads = _Crowded()
    asyncio.get_running_loop().set_default_executor(threads)

    async def film(connection: faulty.Connection, _: faulty.Asked) -> None:
        threads.is_full = True
        await connection.answer(200, MP4)

    server.others = {"GET /film": film}
    with pytest.raises(DownloadError, match="cannot write the result: .*can't start new thread") as caught:
        await asyncio.wait_for(vidu.download(task(server), tmp_path), 60)
    assert caught.value.errno == errno.EAGAIN
    threads.is_full = False


async def test_a_file_that_is_taken_away_at_once_was_saved(
    server: faulty.FaultyServer, vidu: ViduClient, tmp_path: Path
) -> None:
    """As by a program that watches the folder."""

    class Watched(ThreadPoolExecutor):
        def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
            def watched() -> Any:
                done = fn(*args, **kwargs)
                with contextlib.suppress(FileNotFoundError):
                    (tmp_path / "77.mp4").rename(tmp_path / "taken")
                return done

            return super().submit(watched)

    asyncio.get_running_loop().set_default_executor(Watched())
    assert await vidu.download(task(server), tmp_path) == tmp_path / "77.mp4"
    assert os.listdir(tmp_path) == ["taken"]


async def test_a_disk_that_refuses_is_told(server: faulty.FaultyServer, vidu: ViduClient, tmp_path: Path) -> None:
    """With the system's own words."""
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DownloadError, match="cannot write the result: .*Not a directory"):
        await vidu.download(task(server), tmp_path / "file" / "out" / "film.mp4")


async def test_a_task_without_result_has_nothing_to_download(vidu: ViduClient, tmp_path: Path) -> None:
    """The message tells the state."""
    with pytest.raises(DownloadError, match="77 has no result .* failed"):
        await vidu.download(Task(id="77", state=TaskState.FAILED), tmp_path)


async def test_other_links_of_a_creation_can_be_chosen(
    server: faulty.FaultyServer, vidu: ViduClient, tmp_path: Path
) -> None:
    """The cover, the watermarked copy; a missing one is told."""
    cover = b"\x89PNG\r\n\x1a\n" + bytes(64)
    server.others["GET /cover"] = faulty.answer(200, cover)
    found = task(server, cover_url=f"{server.url}/cover")
    path = await vidu.download(found.creations[0], tmp_path, variant="cover_url", name="cover")
    assert (path.name, path.read_bytes()) == ("cover.png", cover)
    with pytest.raises(DownloadError, match="no watermarked_url"):
        await vidu.download(found, tmp_path, variant="watermarked_url")
    with pytest.raises(ConfigError, match="variant="):
        await vidu.download(found, tmp_path, variant="id")  # type: ignore[arg-type]


async def test_a_strange_task_id_makes_a_plain_name(
    server: faulty.FaultyServer, vidu: ViduClient, tmp_path: Path
) -> None:
    """Some gateways' ids hold characters no file name should."""
    path = await vidu.download(task(server, task_id="../a:b^^c/d"), tmp_path / "out")
    assert path.parent == tmp_path / "out"
    assert path.name == "_a_b__c_d.mp4"


async def test_a_large_result_takes_little_memory(
    server: faulty.FaultyServer, vidu: ViduClient, tmp_path: Path
) -> None:
    """It goes to disk a megabyte at a time, in order."""
    block = bytes(range(256)) * 4096

    async def film(connection: faulty.Connection, _: faulty.Asked) -> None:
        await connection.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(MP4) + 20 * len(block)}\r\n\r\n".encode())
        await connection.write(MP4)
        for _count in range(20):
            await connection.write(block)

    server.others = {"GET /film": film}
    path = await vidu.download(task(server), tmp_path)
    assert path.read_bytes() == MP4 + block * 20


HEADS = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff\xe0": "image/jpeg",
    b"RIFF\x00\x00\x00\x00WEBPVP8 ": "image/webp",
    b"GIF89a": "image/gif",
    b"\x00\x00\x00\x18ftypisom": "video/mp4",
    b"\x00\x00\x00\x14ftypqt  ": "video/quicktime",
    b"RIFF\x00\x00\x00\x00AVI LIST": "video/x-msvideo",
    b"\x1aE\xdf\xa3": "video/webm",
}


@pytest.mark.parametrize(("head", "kind"), HEADS.items(), ids=HEADS.values())
async def test_each_kind_of_result_has_its_suffix(
    server: faulty.FaultyServer, vidu: ViduClient, tmp_path: Path, head: bytes, kind: str
) -> None:
    """By its content, whatever the link or the server calls it."""
    server.others = {"GET /x.html": faulty.answer(200, head + bytes(64), Content_Type="text/html")}
    path = await vidu.download(task(server, "/x.html"), tmp_path)
    assert path.suffix == SUFFIXES[kind]
    assert kind_of(path.read_bytes()[:32]) == kind
