"""What a gateway can do beyond creating and querying: asked once where nobody has said, and remembered."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from attrs import define, field

from vidu_async.protocol.errors import APIError, ServerError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from vidu_async.protocol.calls import Call, SubjectPage
    from vidu_async.protocol.gateway import Gateway
    from vidu_async.protocol.wire import Page
    from vidu_async.transport import Transport

T = TypeVar("T")
P = TypeVar("P", "Page", "SubjectPage")

_NO_TASK = frozenset({"TaskNotFound", "CreationNotFound", "task_not_exist"})
_WHAT = {
    "lists": "list tasks",
    "cancels": "cancel tasks",
    "credits": "tell credits",
    "subjects": "store subjects",
    "uploads": "take uploads",
}


@define(eq=False)
class Abilities:
    """Endpoints that not every gateway has, by the names that `Gateway` gives them."""

    _gateway: Gateway
    _connect: Callable[[], Transport]
    """Returns the connections of the running loop."""
    _lacking: set[str] = field(factory=set, init=False)

    def has(self, ability: str) -> bool:
        """Whether the gateway may have it: nobody has said otherwise."""
        return getattr(self._gateway, ability) is not False and ability not in self._lacking

    def require(self, ability: str) -> None:
        """Refuse what this gateway is known not to do."""
        if not self.has(ability):
            said = (
                "it said so when it was asked before"
                if ability in self._lacking
                else f"Gateway({ability}=False) says so"
            )
            raise UnsupportedError(f"{self._gateway.base_url} cannot {_WHAT[ability]}: {said}")

    async def ask(self, ability: str, call: Call[T]) -> T:
        """Ask what not every gateway can answer. Only a plain 404, 405 or 501 shows that there is no such endpoint."""
        self.require(ability)
        try:
            return await self._connect().fetch(call)
        except APIError as error:
            is_trouble = isinstance(error, ServerError) and error.status != 501  # noqa: PLR2004 - Not Implemented
            if is_trouble or error.status not in {404, 405, 501} or error.reason in _NO_TASK:
                raise
            # Remembered, unless it may be about one task only, or is some portal's page.
            if error.readable and (error.status != 404 or ability != "cancels"):  # noqa: PLR2004 - Not Found
                self._lacking.add(ability)
            status = error.status
        raise UnsupportedError(f"{self._gateway.base_url} cannot {_WHAT[ability]}: it answered {status}")

    async def pages(self, ability: str, question: Callable[..., Call[P]]) -> AsyncIterator[P]:
        """Ask for page after page; `question` takes the token of the next."""
        token, seen = "", {""}
        while True:
            page = await self.ask(ability, question(token=token))
            yield page
            token = page.next_token
            if token in seen:  # the last page has none, and a server that repeats one would never end
                return
            seen.add(token)
