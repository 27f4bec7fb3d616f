"""The README's recipes for batches run as they stand."""

from __future__ import annotations

import ast
import asyncio
import re
import shutil
from pathlib import Path

import pytest

from vidu_async.testing import Simulator, run_in_thread

ROOT = Path(__file__).parent.parent
_SECTION = re.compile(r"^## Batches\n(.*?)^## ", re.MULTILINE | re.DOTALL)
_BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def recipes() -> list[str]:
    """Return the code of the section, block by block."""
    section = _SECTION.search((ROOT / "README.md").read_text("utf-8"))
    assert section is not None, "the README has no section on batches"
    return _BLOCK.findall(section[1])


def run(code: str) -> dict[str, object]:
    """Run a block as a notebook does, and return its names."""
    names: dict[str, object] = {}
    made = eval(compile(code, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names)

    async def awaited() -> None:
        if made is not None:
            await made

    asyncio.run(awaited())
    return names


@pytest.mark.parametrize("number", range(3))
def test_each_recipe_runs_as_it_stands(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the rows of the examples, against the simulator."""
    for path in (ROOT / "examples").glob("*.*[gp]"):
        shutil.copy(path, tmp_path)
    rows = (ROOT / "examples" / "jobs.jsonl").read_text("utf-8")
    # An off-peak task is looked at once a minute.
    (tmp_path / "jobs.jsonl").write_text(rows.replace('"off_peak": true', '"off_peak": false'), "utf-8")
    monkeypatch.chdir(tmp_path)
    assert len(recipes()) == 3
    with run_in_thread(Simulator(time_scale=1, concurrency=20)) as sim:
        monkeypatch.setenv("VIDU_BASE_URL", sim.url)
        monkeypatch.setenv("VIDU_API_KEY", sim.api_key)
        run(recipes()[number])
    said = capsys.readouterr().out
    assert ["7 of 7 succeeded; 267 credits", "the first run 20 0 20 0", "7 to submit for 420 credits"][number] in said
    assert len(sim.accepted) == [7, 20, 7][number]
