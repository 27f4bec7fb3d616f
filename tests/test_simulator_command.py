"""The simulated service as a command."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from asking import FOX, KEY


@contextmanager
def serving(*arguments: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Run the command; yields its URL and the process, past the lines that say where it is."""
    command = [sys.executable, "-m", "vidu_async.testing", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(4)]
    url = lines[2].strip().removeprefix("export VIDU_BASE_URL=")
    assert url in lines[0]
    assert lines[3] == "export VIDU_API_KEY=sk-simulator\n"
    try:
        yield url, process
    finally:
        process.send_signal(signal.SIGINT)
        _, complaints = process.communicate(timeout=20)
    assert (process.returncode, complaints) == (0, "")


def creation(url: str, **more: str) -> urllib.request.Request:
    """Return a request for a fox."""
    headers = KEY | {"Content-Type": "application/json"}
    return urllib.request.Request(f"{url}/ent/v2/img2video", json.dumps(FOX | more).encode(), headers)


def test_the_command_serves_until_interrupted() -> None:
    """It says where, with which key, and what happens; it leaves without a traceback."""
    with serving("--port", "0", "--time-scale", "0.1") as (url, process):
        with urllib.request.urlopen(creation(url)) as response:
            task_id = json.load(response)["task_id"]
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(3)]
    assert lines[1:] == [
        f"{task_id}  accepted  img2video viduq1, 80 credits\n",
        f"{task_id}  success  80 credits\n",
    ]


def test_the_command_calls_back_and_says_so() -> None:
    """Or why it does not."""
    options = [
        "--callback-delay",
        "0.1",
        "--callback-drops",
        "1",
        "--callback-repeats",
        "1",
        "--callback-reorders",
        "1",
    ]
    with serving("--port", "0", "--time-scale", "0.1", "--callback-key", "sk-other", *options) as (url, process):
        with urllib.request.urlopen(creation(url, callback_url="http://127.0.0.1:1/cb")) as response:
            task_id = json.load(response)["task_id"]
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(7)]
    told = [f"{task_id}  called back  {state}: drawn to be dropped\n" for state in ("success", "processing")]
    assert lines[3:] == [told[0], told[0], told[1], told[1]]


def complaint(*arguments: str) -> str:
    """Return what the command says, in its last line, to arguments that are wrong."""
    command = [sys.executable, "-m", "vidu_async.testing", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    return done.stderr.splitlines()[-1].partition(": error: ")[2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--time-scale", "0"], "time_scale must be a finite number above 0, not 0.0"),
        (["--port", "70000"], "port must be a whole number from 0 to 65535, not 70000"),
        (["--dialect", "deepl"], "dialect 'deepl' is unknown: did you mean 'deepwl'?"),
        (["--failure", "AuditFailed"], "argument --failure: must look like AuditFailed=0.1, not 'AuditFailed'"),
        (["--failure", "AuditFaild=1"], "err_code 'AuditFaild' is unknown: did you mean 'AuditFailed'?"),
        (["--failure", "AuditFailed=1", "--failure", "AuditFailed=0"], "--failure AuditFailed is given 2 times"),
        (["--refusal", "502=.1", "--refusal", "502=.2"], "--refusal 502 is given 2 times"),
        (["--cuts", "2"], "cuts must be a share from 0 to 1, not 2.0"),
        (["--callback-repeats", "-1"], "repeats must be a whole number from 0 on, not -1"),
        (["--rate", "0"], "rate must be a finite number above 0, not 0.0"),
    ],
)
def test_the_command_says_what_is_wrong_with_its_arguments(arguments: list[str], message: str) -> None:
    """In one line, without a traceback."""
    assert complaint(*arguments) == message


def test_the_command_hands_its_arguments_on() -> None:
    """Dialect and refusals by reason or status, failures by code, and the Retry-After of a 429."""
    arguments = ["--port", "0", "--dialect", "bare", "--seed", "1", "--retry-after", "3"]
    arguments += ["--refusal", "QuotaExceeded=0.5", "--refusal", "502=0.5", "--failure", "AuditFailed=1"]
    answers = set()
    with serving(*arguments) as (url, _):
        for _ in range(10):
            request = creation(url)
            with pytest.raises(urllib.error.HTTPError) as refused, urllib.request.urlopen(request):
                pass
            with refused.value as error:
                answers.add((error.code, error.headers["Retry-After"], error.read()[:10]))
    assert answers == {(429, "3", b'{"detail":'), (502, None, b'{"code": "')}
