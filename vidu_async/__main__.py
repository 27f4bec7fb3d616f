"""`vidu-async` and `python -m vidu_async`: the way into the command line, or how to install it."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec

from vidu_async.protocol.errors import MissingExtraError

_NEEDED = ("click", "rich")


def _check_extra() -> None:
    """Refuse to go on without the packages of the extra `cli`.

    Raises:
        MissingExtraError: one of them is not installed.

    """
    if not all(map(_is_there, _NEEDED)):
        raise MissingExtraError("pip install 'vidu_async[cli]'")


def _is_there(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # whatever answers for imports says so in this way
        return False


def main() -> int:
    """Run the command line; return the exit status."""
    try:
        _check_extra()
    except MissingExtraError as error:
        if sys.stderr is not None:  # a shell may give none
            sys.stderr.write(f"vidu-async needs {' and '.join(_NEEDED)}: {error}\n")
        return 2
    return int(import_module("vidu_async.cli.app").main())


if __name__ == "__main__":
    sys.exit(main())
