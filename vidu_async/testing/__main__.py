"""`python -m vidu_async.testing`: the Simulator as a server to try things on, until Ctrl-C."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections import Counter
from collections.abc import Sequence
from typing import TypeVar

from vidu_async.testing.account import Task
from vidu_async.testing.callbacks import Callbacks, Delivery
from vidu_async.testing.dialects import DIALECTS
from vidu_async.testing.faults import Faults
from vidu_async.testing.simulator import Simulator
from vidu_async.testing.throttle import Throttle

T = TypeVar("T")

_KEY = "sk-simulator"
_LOOK_AGAIN = 0.2


def _share(text: str) -> tuple[str, float]:
    """Read `NAME=SHARE`."""
    name, _, share = text.partition("=")
    try:
        return name, float(share)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must look like AuditFailed=0.1, not {text!r}") from None


def _parser(program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program,
        description="Serve a simulated Vidu. A task takes a tenth of a second times the time scale.",
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    add("--port", type=int, default=8989, help="port, 0 for a free one (%(default)s)")
    add("--time-scale", type=float, default=20.0, help="how slow (%(default)s)")
    add("--concurrency", type=int, default=5, help="tasks processed at once (%(default)s)")
    add("--credits", type=int, default=100_000, help="credits to start with (%(default)s)")
    add("--seed", type=int, help="makes durations and faults repeatable")
    add("--dialect", default="vidu", metavar="NAME", help=f"how answers are dressed: {', '.join(DIALECTS)}")
    add("--no-lists", dest="lists", action="store_false", help="have no list of tasks")
    add("--no-cancels", dest="cancels", action="store_false", help="have no way to cancel")
    add("--list-lag", type=float, default=0.0, metavar="SECONDS", help="until a task is in the list")
    add("--query-lag", type=float, default=0.0, metavar="SECONDS", help="until a task can be queried")
    add("--link-life", type=int, metavar="SECONDS", help="until result links expire")
    _add_faults(parser)
    _add_callbacks(parser)
    return parser


def _add_faults(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("what goes wrong, shares being from 0 to 1").add_argument
    add("--failure", type=_share, action="append", default=[], metavar="CODE=SHARE", help="failing tasks; repeatable")
    add("--refusal", type=_share, action="append", default=[], metavar="REASON=SHARE", help="refusals; repeatable")
    add("--drops-before", type=float, default=0.0, metavar="SHARE", help="connections closed before acting")
    add("--drops-after", type=float, default=0.0, metavar="SHARE", help="connections closed after acting")
    add("--cuts", type=float, default=0.0, metavar="SHARE", help="answers of which half arrives")
    add("--slow", type=float, default=0.0, metavar="SECONDS", help="each answer takes")
    add("--faults-on", default="creations", metavar="WHAT", help="creations (the default) or everything")
    add("--rate", type=float, metavar="NUMBER", help="creations per second, 429 above")
    add("--quota", type=int, metavar="NUMBER", help="unfinished tasks, 429 above")
    add("--retry-after", type=float, metavar="SECONDS", help="the Retry-After of each 429")


def _add_callbacks(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("callbacks, which go to this machine only").add_argument
    add("--callback-key", metavar="KEY", help="signs them, in place of the API key")
    add("--callback-delay", type=float, default=0.0, metavar="SECONDS", help="from a change to its callback")
    add("--callback-drops", type=float, default=0.0, metavar="SHARE", help="never sent")
    add("--callback-repeats", type=int, default=0, metavar="NUMBER", help="how many times more each is sent")
    add("--callback-reorders", type=float, default=0.0, metavar="SHARE", help="tasks of which processing is told last")


def _table(option: str, shares: Sequence[tuple[T, float]]) -> dict[T, float]:
    """Return the shares by name, each of which may be given once."""
    for name, times in Counter(name for name, _ in shares).items():
        if times > 1:
            raise ValueError(f"{option} {name} is given {times} times")
    return dict(shares)


def _faults(options: argparse.Namespace) -> Faults:
    # A number is an HTTP status.
    refusals = [(int(name) if name.isdecimal() else name, share) for name, share in options.refusal]
    return Faults(
        failures=_table("--failure", options.failure),
        refusals=_table("--refusal", refusals),
        drops_before=options.drops_before,
        drops_after=options.drops_after,
        cuts=options.cuts,
        slow=options.slow,
        on=options.faults_on,
    )


def _callbacks(options: argparse.Namespace) -> Callbacks:
    return Callbacks(
        key=options.callback_key,
        delay=options.callback_delay,
        drops=options.callback_drops,
        repeats=options.callback_repeats,
        reorders=options.callback_reorders,
    )


def _simulator(options: argparse.Namespace) -> Simulator:
    return Simulator(
        api_key=_KEY,
        host=options.host,
        port=options.port,
        time_scale=options.time_scale,
        concurrency=options.concurrency,
        credits=options.credits,
        seed=options.seed,
        dialect=options.dialect,
        lists=options.lists,
        cancels=options.cancels,
        list_lag=options.list_lag,
        query_lag=options.query_lag,
        link_life=options.link_life,
        faults=_faults(options),
        throttle=Throttle(rate=options.rate, quota=options.quota, retry_after=options.retry_after),
        callbacks=_callbacks(options),
        on_change=_tell,
    )


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _tell(task: Task) -> None:
    """Write a line for a task that came or that ended."""
    if task.state == "created":
        _say(f"{task.id}  accepted  {task.endpoint} {task.model}, {task.order.price} credits")
    elif task.is_terminal:
        _say(f"{task.id}  {task.state}  {task.err_code or f'{task.credits} credits'}")


def _report(delivery: Delivery) -> None:
    """Write a line for a callback that was sent, or was not."""
    told = ", ".join("no answer" if status is None else str(status) for status in delivery.statuses)
    _say(f"{delivery.task_id}  called back  {delivery.state}: {delivery.unsent or told}")


async def _serve(options: argparse.Namespace) -> None:
    async with _simulator(options) as simulator:
        _say(f"A simulated Vidu at {simulator.url}, with the key {_KEY}. Ctrl-C ends it.\n")
        _say(f"export VIDU_BASE_URL={simulator.url}\nexport VIDU_API_KEY={_KEY}\n")
        reported = 0
        while True:
            simulator.catch_up()
            news = simulator.deliveries[reported:]
            reported += len(news)
            for delivery in news:
                _report(delivery)
            await asyncio.sleep(_LOOK_AGAIN)


def main(arguments: Sequence[str] | None = None, *, program: str = "python -m vidu_async.testing") -> int:
    """Serve until interrupted; return the exit status. `program` is how its help calls it."""
    parser = _parser(program)
    try:
        asyncio.run(_serve(parser.parse_args(arguments)))
    except KeyboardInterrupt:
        return 0
    except (OSError, ValueError) as error:
        parser.error(str(error))
    return 0


if __name__ == "__main__":
    sys.exit(main())
