"""The example notebook in a real kernel, and its page in a real browser."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from nbconvert import HTMLExporter

NOTEBOOK = Path(__file__).parent.parent / "examples" / "notebook.ipynb"
CHROMIUM = Path("/usr/bin/chromium")
LOOK = """
<script>
addEventListener("load", async () => {
  const video = document.querySelector("video");
  if (video.readyState < 1) await new Promise(resolve => { video.onloadedmetadata = video.onerror = resolve; });
  const cards = [...document.querySelectorAll(".jp-RenderedHTMLCommon > div")];
  const seen = {
    cards: cards.map(card => [card.innerText, card.offsetWidth, card.offsetHeight]),
    video: [video.videoWidth, video.videoHeight, video.duration, video.offsetWidth],
    picture: document.querySelector("img[src^='data:image/png']").naturalWidth,
    width: innerWidth,
    beyond: cards.filter(card => card.getBoundingClientRect().right > innerWidth).length,
  };
  document.body.insertAdjacentHTML("beforeend", "<pre id=seen></pre>");
  document.getElementById("seen").textContent = btoa(unescape(encodeURIComponent(JSON.stringify(seen))));
});
</script>
"""


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The notebook, run top to bottom in a kernel, in a folder of its own."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    folder = tmp_path_factory.mktemp("notebook")
    with pytest.MonkeyPatch.context() as environment:
        environment.delenv("VIDU_API_KEY", raising=False)
        environment.setenv("IPYTHONDIR", str(folder / "ipython"))
        environment.setenv("PYTHONWARNINGS", "error:::vidu_async")
        where = {"metadata": {"path": folder}}
        NotebookClient(notebook, timeout=60, kernel_name="python3", resources=where).execute()
    return notebook


def outputs(notebook: Any) -> list[Any]:
    """Return all outputs of all cells."""
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def test_the_notebook_is_kept_without_what_came_of_it() -> None:
    """Nobody's results, and nobody's counts."""
    kept = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    codes = [cell for cell in kept["cells"] if cell["cell_type"] == "code"]
    assert len(codes) > 5
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in codes)


def test_it_runs_without_a_word_of_complaint(executed: Any) -> None:
    """No error, nothing on stderr, and nothing printed at all: it is all cards."""
    assert {output.output_type for output in outputs(executed)} == {"display_data", "execute_result"}


def test_its_cards_moved_to_the_end(executed: Any) -> None:
    """Those that were shown before anybody waited, too; and the batch has a card of its own."""
    shown = outputs(executed)
    handles = [output for output in shown if output.data["text/plain"].startswith("<TaskHandle ")]
    assert len(handles) == 4
    for handle in handles:
        assert re.fullmatch(r"<TaskHandle \d+ success>", handle.data["text/plain"])
        assert "<strong>success</strong>" in handle.data["text/html"]
    assert "<strong>4 of 4 succeeded</strong>" in shown[-1].data["text/html"]


def test_the_results_are_in_it_and_no_secrets(executed: Any) -> None:
    """The video and the picture whole; no link, which expires, and no key."""
    said = nbformat.writes(executed)
    assert "data:video/mp4;base64,AAAA" in said
    assert "data:image/png;base64,iVBOR" in said
    for secret in ("sk-simulator", "http://127.0.0.1", "Signature", "X-Amz"):
        assert secret not in said


@pytest.mark.parametrize(("theme", "width"), [("light", 1280), ("dark", 500)])
def test_its_page_shows_the_cards_and_plays_the_video(executed: Any, theme: str, width: int, tmp_path: Path) -> None:
    """Wide, and as narrow as a window gets."""
    if not CHROMIUM.exists():
        lacking = "NO BROWSER IS TESTED: apt-get install --no-install-recommends chromium"
        (pytest.fail if os.environ.get("VIDU_ASYNC_REQUIRE_BROWSER") else pytest.skip)(lacking)
    page = HTMLExporter(theme=theme, mathjax_url="", require_js_url="", embed_images=True)
    html, _ = page.from_notebook_node(executed)
    (tmp_path / "page.html").write_text(html.replace("</body>", f"{LOOK}</body>"), encoding="utf-8")
    seen = looked_at(tmp_path / "page.html", width)
    texts = [text for text, *_ in seen["cards"]]
    assert sum(text.startswith("● success") for text in texts) == 4
    assert all(wide > 200 and 30 < high < 300 for text, wide, high in seen["cards"] if text.startswith("●"))
    assert (seen["width"], seen["beyond"]) == (width, 0)
    wide, high, seconds, on_page = seen["video"]
    assert (wide, high) == (320, 180)
    assert seconds > 0.5
    assert on_page > 200
    assert seen["picture"] > 100


def looked_at(page: Path, width: int) -> dict[str, Any]:
    """Return what a browser saw on a page."""
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", f"--window-size={width},2000"]
    own = [f"--user-data-dir={page.parent / 'profile'}", "--virtual-time-budget=5000", "--dump-dom", page.as_uri()]
    done = subprocess.run([CHROMIUM, *flags, *own], capture_output=True, text=True, timeout=60, check=True)
    found = re.search(r'<pre id="seen">([^<]+)</pre>', done.stdout)
    assert found is not None, done.stderr[-2000:]
    seen: dict[str, Any] = json.loads(base64.b64decode(found[1]))
    return seen
