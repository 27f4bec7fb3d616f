"""An event loop that looks names up in a list of its own."""

from __future__ import annotations

import socket
from typing import Any

from vidu_async.testing import VirtualClockLoop


class NamedLoop(VirtualClockLoop):
    """A loop on virtual time that looks names up in a list of its own: each look takes the next answer."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        super().__init__()

    async def getaddrinfo(self, host: Any, port: Any, **_: Any) -> Any:
        """Resolve a name; to no address at all is not to exist."""
        addresses = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if not addresses:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0] for address in addresses]
