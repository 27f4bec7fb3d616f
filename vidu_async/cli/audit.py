"""A journal beside the gateway's list of tasks: what one knows and the other does not. Nothing is changed.

A list shows no payloads, so a task that no submission names is queried: the mark it may carry says whose it is.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from attrs import define, field

from vidu_async.evidence import SKEW
from vidu_async.journal import ENDED, SUBJECTS, UNRESOLVED, Row, RowState
from vidu_async.protocol.errors import NotFoundError, UnsupportedError, ViduError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vidu_async.client import ViduClient
    from vidu_async.protocol.models import Task

_QUERIES = 500
"""Tasks that are asked about one by one, of each sort."""

Told = tuple[dict[str, Any], str]
"""A finding, for programs and in words."""


@define(eq=False)
class Audit:
    """What was found, and what could not be."""

    rows: list[Row]
    """Submissions of this site."""
    tasks: dict[str, Task] = field(factory=dict)
    """What the gateway says of the tasks that rows name."""
    strangers: list[Task] = field(factory=list)
    """Tasks that no row names."""
    gone: list[Row] = field(factory=list)
    """Rows whose task the gateway does not know."""
    unchecked: list[str] = field(factory=list)
    """What could not be looked at, in words."""

    @property
    def fits(self) -> bool:
        """Whether nothing was found that does not fit, as far as could be looked. Tasks of others do."""
        return not (self.gone or self.differing or self.twice)

    @property
    def differing(self) -> list[tuple[Row, Task]]:
        """Ended rows of which the gateway says another price."""
        pairs = (
            (row, self.tasks[row.task_id]) for row in self.rows if row.state in ENDED and row.task_id in self.tasks
        )
        return [
            (row, task)
            for row, task in pairs
            if None not in {row.credits, task.credits} and row.credits != task.credits
        ]

    @property
    def twice(self) -> dict[str, list[str]]:
        """The tasks of submissions that became more than one, by key."""
        found: dict[str, list[str]] = {}
        for row in self.rows:
            ids = [row.task_id] if row.task_id else []
            ids += [task.id for task in self.strangers if task.stamp == row.token]
            if len(ids) > 1:
                found[row.key or row.token] = ids
        return found

    def told(self) -> Iterator[Told]:
        """Tell of everything, what matters most last."""
        yield from self._sums()
        yield from self._strangers()
        for row in self.gone:
            said = {"type": "gone", "key": row.key, "task_id": row.task_id, "state": row.state.value}
            yield said, f"{row.key or row.token}: the gateway does not know its task {row.task_id} ({row.state.value})"
        for row, task in self.differing:
            prices = {"journal": row.credits, "gateway": task.credits}
            words = f"{row.key or row.token}: {row.credits} credits here, {task.credits} at the gateway"
            yield {"type": "price", "key": row.key, "task_id": task.id, **prices}, words
        for key, ids in self.twice.items():
            yield {"type": "twice", "key": key, "task_ids": ids}, f"{key} became {len(ids)} tasks: {', '.join(ids)}"
        for row in self.rows:
            if row.state in UNRESOLVED:
                yield {"type": "unresolved", "key": row.key, "state": row.state.value}, f"{row.key} may be paid"
        for what in self.unchecked:
            yield {"type": "unchecked", "what": what}, f"Not checked: {what}"
        yield self._summary()

    def _sums(self) -> Iterator[Told]:
        counts, sums, unpriced = Counter[RowState](), Counter[RowState](), Counter[RowState]()
        for row in self.rows:
            counts[row.state] += 1
            sums[row.state] += row.credits or 0
            unpriced[row.state] += row.credits is None and bool(row.task_id)
        for state in filter(counts.__getitem__, RowState):
            said = {"submissions": counts[state], "credits": sums[state], "unpriced": unpriced[state]}
            rest = f", {unpriced[state]} of unknown price" if unpriced[state] else ""
            words = f"{state.value}: {counts[state]} submissions, {sums[state]} credits{rest}"
            yield {"type": "state", "state": state.value, **said}, words

    def _strangers(self) -> Iterator[Told]:
        keys = {row.token: row.key for row in self.rows}
        for task in self.strangers:
            if task.stamp in keys:
                whose = f"it is that of {keys[task.stamp] or task.stamp}"
            else:
                whose = "it was made with another journal" if task.stamp else "nothing tells whose it is"
            said = {"type": "stranger", "task_id": task.id, "state": task.state.value, "credits": task.credits}
            cost = "" if task.credits is None else f", {task.credits} credits"
            yield (
                {**said, "whose": whose},
                f"task {task.id} ({task.state.value}{cost}) is named by no submission: {whose}",
            )

    def _summary(self) -> Told:
        said = {
            "submissions": len(self.rows),
            "compared": len(self.tasks),
            "strangers": len(self.strangers),
            "gone": len(self.gone),
            "differing": len(self.differing),
            "twice": len(self.twice),
            "unresolved": sum(row.state in UNRESOLVED for row in self.rows),
        }
        words = ", ".join(f"{count} {name}" for name, count in said.items())
        return {"type": "audit", **said, "fits": self.fits}, words


async def audited(client: ViduClient, rows: list[Row]) -> Audit:
    """Compare the rows of a journal with the tasks of the client's account."""
    site = client.gateway.url("")
    found = Audit([row for row in rows if row.site == site])
    if elsewhere := len(rows) - len(found.rows):
        found.unchecked.append(f"{elsewhere} submissions at other sites than {site}")
    named = {row.task_id: row for row in found.rows if row.task_id and row.endpoint != SUBJECTS}
    strangers = await _listed(client, found, named)
    await _ask_of_named(client, found, [row for row in named.values() if row.task_id not in found.tasks])
    await _ask_of_strangers(client, found, strangers)
    _note_limits(found)
    return found


async def _listed(client: ViduClient, found: Audit, named: dict[str, Row]) -> list[Task]:
    """Read the list since the first submission; return what no row names."""
    times = [time for row in found.rows if (time := row.committed_at or row.prepared_at)]
    if not times:
        return []
    since, strangers = datetime.fromtimestamp(min(times) - SKEW, UTC), []
    try:
        async for task in client.tasks(created_from=since):
            if task.id in named:
                found.tasks[task.id] = task
            else:
                strangers.append(task)
    except UnsupportedError:
        found.unchecked.append("tasks that no submission names: this gateway does not list tasks")
    return strangers


async def _ask_of_named(client: ViduClient, found: Audit, rows: list[Row]) -> None:
    """Ask about tasks that the list does not have: it may be short, late, or not there at all."""
    failed = 0
    for row in rows[:_QUERIES]:
        try:
            found.tasks[row.task_id] = await client.fetch_task(row.task_id)
        except NotFoundError:
            found.gone.append(row)
        except ViduError:
            failed += 1
    if left := len(rows[_QUERIES:]) + failed:
        found.unchecked.append(f"{left} submissions whose tasks are in no list, and were not answered for or not asked")


async def _ask_of_strangers(client: ViduClient, found: Audit, strangers: list[Task]) -> None:
    """Ask each whose it is: the list does not say."""
    unread = len(strangers[_QUERIES:])
    for task in strangers[:_QUERIES]:
        try:
            found.strangers.append((await client.fetch_task(task.id)).over(task))
        except ViduError:
            found.strangers.append(task)
            unread += 1
    found.strangers += strangers[_QUERIES:]
    if unread:
        found.unchecked.append(f"whose {unread} of the unnamed tasks are: they were not asked for, or not answered")


def _note_limits(found: Audit) -> None:
    """Say what no comparison can tell."""
    if own := sum(bool(row.proof) and row.state in UNRESOLVED for row in found.rows):
        found.unchecked.append(f"{own} unresolved submissions with payloads of their own: their tasks carry no mark")
    accounts = {row.key_print for row in found.rows if row.key_print}
    if len(accounts) > 1:
        found.unchecked.append(
            f"which of {len(accounts)} API keys each submission belongs to; this one sees its own tasks"
        )
