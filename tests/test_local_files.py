"""What is found out of a file: once for a hundred requests, and anew as soon as the file is another."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pictures import PNG, png

from vidu_async.local_files import Stamp
from vidu_async.once import Once

EXAMPLES = Path(__file__).parent.parent / "examples"

PRELUDE = """
import asyncio, os, sys, time
from concurrent.futures import ThreadPoolExecutor
from vidu_async import ImageToVideo, ViduClient
from vidu_async.media import digest, resolved
path, opened = sys.argv[1], []
def hear(event, arguments):
    if event == "open" and str(arguments[0]) == path and arguments[1] is None:
        opened.append(event)
sys.addaudithook(hear)
def look(number=0):
    return digest(resolved({"model": "m", "seed": 1, "images": [path]}))
"""


def printed(program: str, path: Path) -> str:
    """Return what a program prints that counts how often a file was opened."""
    command = [sys.executable, "-c", PRELUDE + program, str(path)]
    return subprocess.run(command, capture_output=True, check=True, text=True, timeout=60).stdout


def test_a_file_is_looked_at_once_and_hashed_once_for_a_hundred_requests() -> None:
    """By sixteen threads at a time, too."""
    one_by_one = "print(len({look() for _ in range(100)}), len(opened))"
    at_once = "print(len({*ThreadPoolExecutor(16).map(look, range(100))}), len(opened))"

    assert printed(one_by_one, EXAMPLES / "dawn.png") == "1 2\n"
    assert printed(at_once, EXAMPLES / "noon.jpg") == "1 2\n"


def test_a_batch_of_requests_opens_their_picture_twice() -> None:
    """Once to look at it, and once for the hash that tells the requests apart."""
    program = """
async def main():
    async with ViduClient("sk-x") as vidu:
        make = lambda number: ImageToVideo(model="viduq3-turbo", images=[path], seed=number)
        prints = await asyncio.gather(*(vidu.fingerprint(make(number)) for number in range(100)))
        await asyncio.gather(*(vidu.check(make(number)) for number in range(100)))
        print(len({*prints}), len(opened))
asyncio.run(main())
"""
    assert printed(program, EXAMPLES / "dawn.png") == "100 2\n"


AGED = """
real = time.time_ns
time.time_ns = lambda: real() + 10**10  # as if everything had been there for ten seconds
first = look()
assert look() == first and len(opened) == 2, opened
"""


@pytest.mark.parametrize(
    "change",
    [
        pytest.param("open(path, 'wb').write(other + other)", id="another size"),
        pytest.param("open(path + '2', 'wb').write(other); os.replace(path + '2', path)", id="another file"),
        pytest.param("open(path, 'wb').write(other); os.utime(path, ns=(1, 1))", id="another time"),
        pytest.param(
            """
before = os.stat(path)
while os.stat(path).st_ctime_ns == before.st_ctime_ns:  # clocks of file systems are slow
    open(path, 'wb').write(other)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
""",
            id="the same size and time",
        ),
    ],
)
def test_a_file_that_has_changed_is_looked_at_anew(tmp_path: Path, change: str) -> None:
    """However it changed: another picture must not pass for the one that is known."""
    path = tmp_path / "fox.png"
    path.write_bytes(png(label=b"a"))
    program = f"other = open(path, 'rb').read().replace(b'fiLla', b'fiLlb')\n{AGED}\n{change}\nopened.clear()\n"

    assert printed(f"{program}print(look() != first, len(opened))", path) == "True 2\n"


def test_a_refused_file_is_refused_again_and_taken_once_it_is_right(tmp_path: Path) -> None:
    """What is remembered is what it was."""
    path = tmp_path / "fox.png"
    path.write_bytes(PNG[:-1])
    program = f"""
real = time.time_ns
time.time_ns = lambda: real() + 10**10
for _ in range(2):
    try:
        look()
    except ValueError as error:
        print("cut short" in str(error), len(opened))
open(path, "ab").write({PNG[-1:]!r})
print(len(look()))
"""

    assert printed(program, path) == "True 1\nTrue 1\n64\n"


def test_a_file_tells_by_its_times_only_once_they_are_past() -> None:
    """Within a moment it can be written twice and show the same time; and what is of the future proves nothing."""
    now = time.time_ns() // 10**9 * 10**9 + 1  # no whole second
    past, fresh, future = now - 10**9, time.time_ns() - 10**6, now + 10**12

    assert Stamp(1, 2, 3, past, past).is_settled()
    assert not Stamp(1, 2, 3, fresh, past).is_settled()
    assert not Stamp(1, 2, 3, past, fresh).is_settled()
    assert not Stamp(1, 2, 3, future, past).is_settled()


def test_times_in_whole_seconds_tell_later() -> None:
    """They are those of a file system whose clock ticks every second, or every second one."""
    second = time.time_ns() // 10**9 * 10**9

    assert not Stamp(1, 2, 3, second - 10**9, second - 10**9).is_settled()
    assert Stamp(1, 2, 3, second - 4 * 10**9, second - 4 * 10**9).is_settled()


def test_what_only_the_name_or_the_owner_tells_apart_is_the_same_file() -> None:
    """It is sent all the same; only what is remembered of it is found out anew."""
    assert Stamp(1, 2, 3, 4, 5) == Stamp(1, 2, 3, 4, 6)


# Answers


def test_an_answer_is_found_out_once_by_whoever_asks_first() -> None:
    """The others wait for it."""
    once, asked, together = Once[int](), list[int](), threading.Barrier(8)

    def find_out() -> int:
        asked.append(1)
        return 7

    def ask(_: int) -> int:
        together.wait()
        return once.answer("how many", find_out)

    with ThreadPoolExecutor(8) as pool:
        assert [*pool.map(ask, range(8))] == [7] * 8
    assert len(asked) == 1


def test_what_could_not_be_found_out_is_asked_anew() -> None:
    """And those who waited for it are told as well."""
    once, begun, go_on = Once[int](), threading.Event(), threading.Event()

    def fail() -> int:
        begun.set()
        go_on.wait(30)
        raise OSError("no disk")

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(once.answer, "how many", fail)
        begun.wait(30)
        second = pool.submit(once.answer, "how many", lambda: 8)
        go_on.set()
        with pytest.raises(OSError, match="no disk"):
            first.result(30)
        assert second.exception(30) is None or str(second.exception(30)) == "no disk"
    assert once.answer("how many", lambda: 7) in {7, 8}


def test_no_more_answers_are_remembered_than_are_wanted() -> None:
    """The one that was asked for longest ago goes first."""
    once = Once[int](most=2)
    for question, answer in (("a", 1), ("b", 2), ("a", 0), ("c", 3)):
        once.answer(question, lambda answer=answer: answer)  # type: ignore[misc]  # a default binds it now

    assert [once.answer(question, lambda: 9) for question in ("a", "c", "b")] == [1, 3, 9]


_FORK = """
import os, sys, threading
from vidu_async.once import Once
once, begun, go_on = Once(), threading.Event(), threading.Event()
def wait():
    begun.set()
    go_on.wait()
    return 1
thread = threading.Thread(target=once.answer, args=("how many", wait))
thread.start()
begun.wait()
child = os.fork()
if not child:
    os._exit(once.answer("how many", lambda: 0))
code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
go_on.set()
thread.join()
sys.exit(code)
"""


def test_a_forked_process_waits_for_nobody() -> None:
    """The thread that was finding out does not exist there."""
    subprocess.run([sys.executable, "-W", "ignore", "-c", _FORK], check=True, timeout=30)
