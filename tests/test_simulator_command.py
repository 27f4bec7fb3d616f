"""The simulated service as a command."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.request

from asking import FOX, KEY


def test_the_command_serves_until_interrupted() -> None:
    """It says where, with which key, and what happens; it leaves without a traceback."""
    command = [sys.executable, "-m", "vidu_async.testing", "--port", "0", "--time-scale", "0.1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(4)]
    url = lines[2].strip().removeprefix("export VIDU_BASE_URL=")
    assert url in lines[0]
    assert lines[3] == "export VIDU_API_KEY=sk-simulator\n"
    body, headers = json.dumps(FOX).encode(), KEY | {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{url}/ent/v2/img2video", body, headers)
    with urllib.request.urlopen(request) as response:
        task_id = json.load(response)["task_id"]
    lines = [process.stdout.readline() for _ in range(3)]
    assert lines[1:] == [
        f"{task_id}  accepted  img2video viduq1, 80 credits\n",
        f"{task_id}  success  80 credits\n",
    ]
    process.send_signal(signal.SIGINT)
    _, complaints = process.communicate(timeout=20)
    assert (process.returncode, complaints) == (0, "")


def test_the_command_says_what_is_wrong_with_its_arguments() -> None:
    """In one line, without a traceback."""
    command = [sys.executable, "-m", "vidu_async.testing", "--time-scale", "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert done.stderr.endswith("error: time_scale must be above 0 and concurrency at least 1\n")
