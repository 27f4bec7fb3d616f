"""The package as a whole: light to import, complete in its names, typed, and true to its README."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import vidu_async
from vidu_async import ViduError
from vidu_async.protocol import errors
from vidu_async.testing import Simulator, run_in_thread

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def printed(program: str) -> str:
    """Return what a program prints in an interpreter of its own, which nothing else has loaded modules into."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    command = [sys.executable, "-c", program]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout


@pytest.mark.parametrize(
    ("line", "heavy"),
    [
        ("import vidu_async", ["asyncio", "attrs", "cattrs", "logging", "vidu_async.client"]),
        ("from vidu_async import ViduError", ["asyncio", "cattrs", "vidu_async.client"]),
        ("from vidu_async import *", ["aiohttp", "backoff", "yarl", "sqlite3", "vidu_async.testing", "pytest"]),
    ],
)
def test_an_import_loads_no_more_than_its_names_need(line: str, heavy: list[str]) -> None:
    """What only some names or some calls need is loaded with them."""
    program = f"{line}\nimport sys\nprint([name for name in {heavy} if name in sys.modules])"
    assert printed(program) == "[]\n"


def test_a_name_that_is_none_is_refused_as_of_any_module() -> None:
    """And what is refused is no import."""
    with pytest.raises(AttributeError, match="module 'vidu_async' has no attribute 'ViduClinet'"):
        _ = vidu_async.ViduClinet  # type: ignore[attr-defined]
    with pytest.raises(ImportError, match="cannot import name 'ViduClinet'"):
        exec("from vidu_async import ViduClinet")


def test_the_pytest_plugin_loads_no_http() -> None:
    """Every project that has the package installed loads it in each test run."""
    assert printed("import sys, vidu_async.testing.pytest_plugin; print('aiohttp' in sys.modules)") == "False\n"


def test_all_names_are_public_and_sorted() -> None:
    """And there are no others."""
    assert vidu_async.__all__ == sorted(vidu_async.__all__) == dir(vidu_async)
    for name in vidu_async.__all__:
        assert getattr(vidu_async, name) is not None


def test_every_error_is_public_and_in_the_drawing() -> None:
    """The tree at the top of errors.py is the tree that is."""
    drawn = re.findall(r"[├└]── (\w+)", errors.__doc__ or "")
    defined = [name for name, value in vars(errors).items() if inspect.isclass(value) and issubclass(value, ViduError)]
    assert set(drawn) | {"ViduError"} == set(defined)
    assert set(defined) <= set(vidu_async.__all__)
    for name in drawn:
        indent = re.search(rf"^([ │]*)[├└]── {name}\b", errors.__doc__ or "", re.MULTILINE)
        assert indent is not None
        assert len(getattr(errors, name).__mro__) > 3 + len(indent[1]) // 4


def test_every_public_thing_says_what_it_is() -> None:
    """Classes and their public methods have docstrings of their own."""
    silent = []
    for name in vidu_async.__all__:
        thing = getattr(vidu_async, name)
        if inspect.isclass(thing):
            members = [member for key, member in vars(thing).items() if not key.startswith("_")]
            parts = [thing, *filter(inspect.isroutine, members)]
            silent += [part for part in parts if not inspect.getdoc(part)]
    assert silent == []


# The recipes for batches are run by test_readme_batches.py, which knows what they must say, and what is served to the
# web by test_readme_web.py.
ELSEWHERE = r"(?ms)^(## Batches\n.*?^(?=## )|### In an aiohttp app\n.*?^(?=### Behind))"
PYTHON = re.findall(r"```python\n(.*?)```", re.sub(ELSEWHERE, "", README), re.DOTALL)


def program(block: str) -> str:
    """Return a block as a program: one that awaits at the top is set into a `main`."""
    if "await " not in block or "asyncio.run(" in block or "def test_" in block:
        return block
    if block.startswith("from vidu_async import"):  # it makes its own client
        return "import asyncio\nasync def main():\n" + textwrap.indent(block, "    ") + "asyncio.run(main())\n"
    body = "\n".join(f"        {line}" for line in block.splitlines())
    return f"""
import asyncio
from vidu_async import *
async def main():
    request, prompts = TextToVideo(model="viduq3-turbo", prompt="a fox"), ["a fox", "a cat"]
    async with ViduClient() as vidu:
{body}
asyncio.run(main())
"""


@pytest.mark.parametrize("block", PYTHON, ids=lambda block: block.strip().splitlines()[0][:40])
def test_every_block_of_the_readme_runs(block: str, tmp_path: Path) -> None:
    """On the simulator, in a folder with the picture it names; a block that is a test is run by pytest."""
    (tmp_path / "fox.png").write_bytes((ROOT / "examples" / "dawn.png").read_bytes())
    (tmp_path / "test_block.py").write_text(program(block), encoding="utf-8")
    is_test = "def test_" in block
    auto = ["-o", "asyncio_mode=auto", "-o", "asyncio_default_fixture_loop_scope=function"]
    runner = ["-m", "pytest", "-q", *auto] if is_test else ["-W", "error"]
    with run_in_thread(Simulator()) as sim:
        environment = {**os.environ, "VIDU_BASE_URL": sim.url, "VIDU_API_KEY": sim.api_key}
        command = [sys.executable, *runner, "test_block.py"]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path, env=environment
        )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "1 passed" in done.stdout or not is_test


def test_the_first_code_of_the_readme_comes_early() -> None:
    """A visitor sees what it looks like without scrolling."""
    assert README.splitlines().index("```python") < 20


def test_the_links_of_the_readme_lead_somewhere() -> None:
    """Relative ones name files that are there."""
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", README)
    assert len(links) > 10
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_commands_of_the_readme_begin_with_a_fresh_environment() -> None:
    """Two lines, each doing all its own set-up."""
    commands = [line for line in README.splitlines() if line.startswith("python3 -m venv")]
    assert len(commands) == 2
    assert "vidu-async batch examples/jobs.jsonl --simulate --out results" in commands[0]
    assert "pytest" in commands[1]


def test_the_changelog_tells_this_version() -> None:
    """Keep a Changelog, newest first."""
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    version = re.search(r'^version = "(.*)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    assert version is not None
    assert f"## [{version[1]}]" in changelog
