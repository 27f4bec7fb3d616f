"""`python -m vidu_async.testing`: the Simulator as a server to try things on, until Ctrl-C."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence

from vidu_async.testing.simulator import Simulator

_KEY = "sk-simulator"
_LOOK_AGAIN = 0.2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m vidu_async.testing",
        description="Serve a simulated Vidu. A task takes a tenth of a second times the time scale.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--port", type=int, default=8989, help="port, 0 for a free one (%(default)s)")
    parser.add_argument("--time-scale", type=float, default=20.0, help="how slow (%(default)s)")
    parser.add_argument("--concurrency", type=int, default=5, help="tasks processed at once (%(default)s)")
    parser.add_argument("--credits", type=int, default=100_000, help="credits to start with (%(default)s)")
    return parser


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def _report(simulator: Simulator) -> None:
    """Write a line for each task that comes and for each that ends."""
    known: set[str] = set()
    open_ids: list[str] = []
    while True:
        tasks = simulator.tasks
        for task_id in [name for name in tasks if name not in known]:
            known.add(task_id)
            open_ids.append(task_id)
            task = tasks[task_id]
            _say(f"{task_id}  accepted  {task.endpoint} {task.model}, {task.order.price} credits")
        for task in [tasks[name] for name in open_ids if tasks[name].is_terminal]:
            open_ids.remove(task.id)
            _say(f"{task.id}  {task.state}  {task.err_code or f'{task.credits} credits'}")
        await asyncio.sleep(_LOOK_AGAIN)


async def _serve(options: argparse.Namespace) -> None:
    async with Simulator(
        api_key=_KEY,
        host=options.host,
        port=options.port,
        time_scale=options.time_scale,
        concurrency=options.concurrency,
        credits=options.credits,
    ) as simulator:
        _say(f"A simulated Vidu at {simulator.url}, with the key {_KEY}. Ctrl-C ends it.\n")
        _say(f"export VIDU_BASE_URL={simulator.url}\nexport VIDU_API_KEY={_KEY}\n")
        await _report(simulator)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until interrupted; return the exit status."""
    parser = _parser()
    try:
        asyncio.run(_serve(parser.parse_args(arguments)))
    except KeyboardInterrupt:
        return 0
    except (OSError, ValueError) as error:
        parser.error(str(error))
    return 0


if __name__ == "__main__":
    sys.exit(main())
