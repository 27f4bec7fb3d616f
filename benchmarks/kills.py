"""Kill a client with a journal at a thousand moments, and count what is paid twice or lost.

    python -m benchmarks.kills --kills 1000 --seed 1
    python -m benchmarks.kills --kills 300 --only-kills

Each night is a journal and a gateway of its own, and ten kills. `--only-kills` has a gateway that never misbehaves, and
large pictures only: then what is unknown was made so by the kills alone. The gateway shares the machine, so it is slow
to answer, and the share of what is unknown is higher than behind a network that is slower than the gateway.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from ledger import ACCEPTED, LOTS
from lives import Night, Nursery, Tally

_KILLS = 10
"""Of one night."""
_PAUSE = 15.0
"""Seconds between two words of progress."""
_COLUMNS = {
    "kills": "kills",
    "submissions": "submissions",
    "on their way at a kill": "met",
    "accepted": "accepted",
    "duplicates": "duplicates",
    "silent losses": "losses",
    "unknown before a reconciliation": "unknown",
    "their share": "share",
    "unknown after it": "unknown_after",
}


async def play(options: argparse.Namespace, folder: Path) -> Tally:
    """Play as many nights as the kills need, and say now and then how far it has come."""
    total, spoken = Tally(), time.monotonic()
    lots = (ACCEPTED,) if options.only_kills else LOTS
    bounds = (options.bytes if options.only_kills else 0, options.bytes)
    with Nursery(folder / "nursery.log") as nursery:
        while total.kills < options.kills and not total.faults:
            kills, seed = min(_KILLS, options.kills - total.kills), options.seed + total.kills
            with tempfile.TemporaryDirectory(dir=folder) as home:
                night = Night(Path(home), seed, lots, kills, each=60, bounds=bounds, between=(0.05, 0.6))
                total += await night.play(nursery)
            if time.monotonic() > spoken + _PAUSE:
                spoken = time.monotonic()
                print(f"{total.kills} of {options.kills} kills, {total.submissions} submissions", flush=True)
    return total


def table(total: Tally) -> str:
    """Return the result as a table."""
    figures = [f"{getattr(total, name):{'.1%' if name == 'share' else ''}}" for name in _COLUMNS.values()]
    rows = [list(_COLUMNS), ["---"] * len(figures), figures]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def rows(kills: int = 20) -> list[tuple[str, str, str]]:
    """Kill so often; return what was counted, what was reached, and the goal."""
    options = argparse.Namespace(kills=kills, seed=1, bytes=300_000, only_kills=False)
    with tempfile.TemporaryDirectory() as folder:
        total = asyncio.run(play(options, Path(folder)))
    what = f"a client killed {total.kills} times in {total.submissions:,} submissions: paid twice; lost in silence"
    faults = f"; {len(total.faults)} OTHER FAULTS" if total.faults else ""
    return [(what, f"{total.duplicates}; {total.losses}{faults}", "<= 0; <= 0")]


def main() -> int:
    """Read the options, play, and print the table; 1 if something must not have happened."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100, help="how many (100)")
    parser.add_argument("--seed", type=int, default=1, help="of the kills' moments and the gateway's lots (1)")
    parser.add_argument("--bytes", type=int, default=300_000, help="of the largest picture (300000)")
    parser.add_argument("--only-kills", action="store_true", help="with a gateway that never misbehaves")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        total = asyncio.run(play(options, Path(folder)))
    print(table(total))
    for fault in total.faults:
        print(fault)
    return int(bool(total.faults or total.duplicates or total.losses))


if __name__ == "__main__":
    sys.exit(main())
