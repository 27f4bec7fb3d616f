"""A request as its rules see it, and how they say what is wrong with it.

A rule is a function of an `Asked` that yields errors. It does not decide what becomes of them.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

from attrs import field, frozen

from vidu_async.protocol.catalog import ANY, CATALOG, Row
from vidu_async.protocol.checks import fault, hint, shown
from vidu_async.protocol.errors import ValidationError

Found = Iterator[ValidationError]


@frozen
class Asked:
    """A request as its rules see it: the fields that were given, and the row of its model, if there is one."""

    endpoint: str
    given: Mapping[str, Any]
    known_as: str | None = None
    """Vidu's name of the model, where a gateway has another."""
    model: str = field(init=False)
    row: Row | None = field(init=False)

    @model.default
    def _model(self) -> str:
        return str(self.given["model"])

    @row.default
    def _row(self) -> Row | None:
        return CATALOG[self.endpoint].models.get(self.known_as or self.model)

    @property
    def place(self) -> str:
        """The end of a sentence about the model."""
        return f"of {self.model} at {self.endpoint}"

    def count(self, name: str) -> int:
        """How many items were given in a list."""
        return len(self.given.get(name, ()))

    def wrong(self, name: str, said: str, allowed: Iterable[object] | None = None) -> ValidationError:
        """Return the error about a field that was given."""
        return ValidationError(said, field=name, value=self.given.get(name), allowed=allowed)


Rule = Callable[[Asked], Found]


def counted(name: str, count: int, least: int, most: int, where: str = "") -> Found:
    """Refuse too few or too many items."""
    if not least <= count <= most:
        wanted = f"exactly {least}" if least == most else f"{least} to {most}"
        yield fault(name, f"takes {wanted}{where}, not {count}", count, range(least, most + 1))


def span(values: Collection[object]) -> str:
    """Say which values there are: `1 to 16`, `4 or 8`, `'16:9', '9:16' or '1:1'`."""
    if values is ANY:
        return "'auto' or W:H, such as '16:9'"
    *others, last = values
    if len(others) > 1 and isinstance(last, int):  # the catalog's longer ranges have no gaps
        return f"{others[0]} to {last}"
    return f"{', '.join(map(repr, others))} or {last!r}" if others else repr(last)


@frozen
class Choice:
    """The values of a field: those the newest page lists, and those that another source has as well."""

    name: str
    listed: Collection[Any]
    also: Collection[Any]
    place: str

    @property
    def _others(self) -> Collection[Any]:
        """What only another source has."""
        return ANY if self.also is ANY else [value for value in dict.fromkeys(self.also) if value not in self.listed]

    def refuse(self, value: object) -> Found:
        """Refuse what no source has."""
        if value in self.listed or value in self.also:
            return
        others = self._others
        taken = f"{span(self.listed)} ({span(others)} by another page)" if others else span(self.listed)
        near = hint(value, [str(word) for word in (*self.listed, *others)])
        allowed = None if ANY in (self.listed, others) else (*self.listed, *others)
        yield fault(self.name, f"{self.place} is {taken}, not {shown(value)}{near}", value, allowed)

    def doubt(self, value: object) -> Found:
        """Doubt what the newest page does not have."""
        if value not in self.listed and value in self.also:
            said = f"{self.place} is {span(self.listed)} on the newest page, only another has {shown(value)}"
            yield fault(self.name, said, value, self.listed)
