"""Configuration and surroundings: what is wrong is said at once, and nothing of the environment gets in between."""

from __future__ import annotations

import logging
import pickle
from pathlib import Path
from typing import Any

import pytest
from IPython.core.formatters import DisplayFormatter

from vidu_async import AuthenticationError, ConfigError, Gateway, ImageToVideo, TextToVideo, ViduClient, ViduError
from vidu_async.testing import Faults, Simulator

KEY = "sk-2f6c1e-very-secret"
FOX = TextToVideo(model="viduq3-turbo", prompt="a fox")
EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.mark.parametrize("key", ["", "sk a", "sk\nX-Other: 1", "sk\r", "Bearer sk-1", "token sk-1", "sk-é", "sk\0"])
def test_what_is_no_key_is_refused_with_where_it_is_set(key: str) -> None:
    """A line break would begin another header, and the word before the key is the gateway's own."""
    with pytest.raises(ConfigError, match="VIDU_API_KEY") as refused:
        ViduClient(key)

    assert not key or key not in str(refused.value)


def test_a_missing_key_is_refused_with_where_it_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """At once, rather than with the first request."""
    monkeypatch.delenv("VIDU_API_KEY", raising=False)
    with pytest.raises(ConfigError, match="VIDU_API_KEY"):
        ViduClient()


@pytest.mark.parametrize(("theirs", "ours"), [("Token", "Bearer"), ("Bearer", "Token"), ("", "Bearer")])
async def test_the_wrong_word_before_the_key_is_answered_with_the_setting(theirs: str, ours: str) -> None:
    """The key alone would be right."""
    ways = Gateway(base_url="https://gateway.example", auth_scheme=theirs)
    async with Simulator(ways=ways) as sim:
        wrong = Gateway(base_url=sim.url, auth_scheme=ours)
        async with sim.client(gateway=wrong) as vidu:
            with pytest.raises(AuthenticationError, match="auth_scheme") as refused:
                await vidu.submit(FOX)

    assert refused.value.paid == "no"


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"])
async def test_a_proxy_of_the_environment_is_ignored(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Only `proxy=` names one; creations, questions and downloads go straight."""
    monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    async with Simulator() as sim, sim.client() as vidu:
        task = await vidu.run(FOX)
        assert (await vidu.download(task, tmp_path / "fox.mp4")).stat().st_size


async def test_a_log_at_debug_shows_no_key_no_file_and_no_signature(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """Whoever turns it up to look for something may show it to others."""
    log = logging.getLogger("program")
    link = "https://a.example/?s=hush"
    request = ImageToVideo(model="viduq3-turbo", images=[EXAMPLES / "dawn.png"], callback_url=link)
    faults = Faults(cuts=0.2, refusals={502: 0.1})
    caplog.set_level(logging.DEBUG)
    async with Simulator(api_key=KEY, seed=1, faults=faults, lists=False) as sim, sim.client() as vidu:
        for number in range(20):
            try:
                task = await vidu.run(request)
                path = await vidu.download(task, tmp_path / f"{number}.mp4")
            except ViduError:
                log.exception("it failed")
            else:
                log.debug("it went well: %r, %s", task, path)

    assert "it failed" in caplog.text
    assert "it went well" in caplog.text
    for secret in (KEY, "iVBORw0KGgo", "X-Amz-Signature", "s=hush"):
        assert secret not in caplog.text


async def test_a_notebook_shows_no_key(sim: Simulator, capsys: pytest.CaptureFixture[str]) -> None:
    """In any of the forms it asks an object for."""
    async with sim.client() as vidu:
        things: list[Any] = [vidu, vidu.gateway, await vidu.submit(FOX), FOX, await vidu.credits()]
        for thing in things:
            shown = DisplayFormatter().format(thing)[0] or thing._repr_mimebundle_()  # a handle shows itself
            assert shown["text/plain"]
            assert sim.api_key not in str(shown)
    assert sim.api_key not in capsys.readouterr().out


async def test_a_client_is_not_pickled(vidu: ViduClient) -> None:
    """It holds a key and connections."""
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(vidu)
