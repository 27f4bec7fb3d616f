"""The command line in a process of its own, as impatient as a simulator allows; and on a terminal of its own."""

import os
import pty
import sys

from vidu_async import Polling, Timeouts
from vidu_async.cli.app import main
from vidu_async.cli.settings import Settings

QUICK = {
    "polling": Polling(min_interval=0.02, max_interval=0.1),
    "timeouts": Timeouts(read=10, quiet=0.5),
}


def on_terminal(*arguments: str, expected: int = 0) -> str:
    """Return what a terminal receives from the command line."""
    leader, follower = pty.openpty()
    call = [sys.executable, __file__, *arguments]
    child = os.posix_spawn(
        call[0], call, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, follower, one) for one in (0, 1, 2)]
    )
    os.close(follower)
    received = b""
    try:
        while some := os.read(leader, 65536):
            received += some
    except OSError:  # Linux says so when the last one has hung up
        pass
    os.close(leader)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == expected
    return received.decode()


if __name__ == "__main__":
    sys.exit(main(settings=Settings(client=QUICK)))
