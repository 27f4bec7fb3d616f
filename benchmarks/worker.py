"""A process for one contender, which does nothing else: so no client's imports and garbage weigh on another.

`python -m benchmarks.worker MODULE` reads one JSON object of arguments a line from standard input, calls the module's
`work` with them, and writes what it returns as a line of JSON. Whatever else is printed goes to standard error.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from importlib import import_module
from pathlib import Path
from typing import Any, Self

from attrs import define, field

ROOT = Path(__file__).parent.parent
"""The checkout, from which `benchmarks` is imported."""


@define(eq=False)
class Worker:
    """The process, from outside."""

    module: str
    deadline: float = 150.0
    """Seconds after which a job is given up."""
    _process: subprocess.Popen[str] = field(init=False)

    def __attrs_post_init__(self) -> None:
        clean = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", f"benchmarks.{self.module}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=clean | {"NO_PROXY": "*", "DO_NOT_TRACK": "1"},
        )

    def ask(self, **job: object) -> Any:  # noqa: ANN401 - whatever the module's `work` returns
        """Have a job done, and wait for it."""
        self.begin(**job)
        return self.end()

    def begin(self, **job: object) -> None:
        """Have a job done meanwhile."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()

    def end(self) -> Any:  # noqa: ANN401 - as above
        """Wait for it.

        Raises:
            RuntimeError: it failed, or took too long.

        """
        assert self._process.stdout is not None
        killer = threading.Timer(self.deadline, self._process.kill)
        killer.start()
        try:
            line = self._process.stdout.readline()
        finally:
            killer.cancel()
        if not line:
            raise RuntimeError(f"the worker for {self.module} ended: see above")
        return json.loads(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.communicate()


def main() -> None:
    """Do one job after the other."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    work = import_module(sys.argv[1]).work
    for line in sys.stdin:
        answers.write(json.dumps(work(**json.loads(line))) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
