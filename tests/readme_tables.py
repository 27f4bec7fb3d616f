"""The README's tables that are made from the code: `python tests/readme_tables.py` writes them anew."""

from __future__ import annotations

import json
import re
from pathlib import Path

from attrs import fields

from vidu_async import Gateway, SubmissionUnknownError, TextToVideo, ViduError
from vidu_async.protocol import calls
from vidu_async.protocol.answers import Answer
from vidu_async.protocol.gateway import DOCUMENTED
from vidu_async.protocol.reasons import REASONS, Reason
from vidu_async.verdict import LostAnswerError, judge

README = Path(__file__).parent.parent / "README.md"
_CREATION = calls.create(Gateway.vidu(), TextToVideo(model="viduq3-turbo", prompt="a fox"))


def reasons() -> str:
    """Return a row for each group of reasons: what a creation that is refused so raises, and what it costs."""
    groups: dict[Reason, list[str]] = {}
    for word, reason in REASONS.items():
        groups.setdefault(reason, []).append(word)
    rows = ["| reason | HTTP | raised by a creation | `.paid` | what to do |", "|---|---|---|---|---|"]
    for reason, words in groups.items():
        error = _refused(words[0], reason.status)
        kind = f"`{type(error).__name__}`"
        if type(error) is not reason.kind:
            kind += f", elsewhere `{reason.kind.__name__}`"
        names = ", ".join(f"`{word}`" for word in words)
        rows.append(f"| {names} | {reason.status} | {kind} | {error.paid} | {_advice(reason, error)} |")
    return "\n".join(rows)


def _refused(word: str, status: int) -> ViduError:
    body = json.dumps({"code": status, "reason": word, "message": "", "metadata": {}})
    try:
        judge(_CREATION, Answer(status, body.encode()))
    except ViduError as error:
        return error
    except LostAnswerError as lost:
        return SubmissionUnknownError("", key="", evidence=lost.evidence)
    raise AssertionError(word)


def _advice(reason: Reason, error: ViduError) -> str:
    return error.advice if type(error) is not reason.kind else reason.advice or reason.kind.advice


def gateways() -> str:
    """Return a row for each gateway whose pages say how it is spoken to: what differs from `Gateway(base_url=)`."""
    rows = ["| gateway | settings |", "|---|---|"]
    for name, gateway in DOCUMENTED.items():
        others = {
            field.name: getattr(gateway, field.name)
            for field in fields(Gateway)
            if field.name != "base_url" and getattr(gateway, field.name) != _default(field.name)
        }
        settings = "".join(f", {key}={_written(value)}" for key, value in others.items())
        rows.append(f'| {name} | `Gateway(base_url="{gateway.base_url}"{settings})` |')
    return "\n".join(rows)


def _default(name: str) -> object:
    return getattr(Gateway(base_url="https://gateway.example"), name)


def _written(value: object) -> str:
    if isinstance(value, frozenset):
        return f"{{{', '.join(map(_written, sorted(value)))}}}"
    return f'"{value}"' if isinstance(value, str) else repr(value)


TABLES = {"reasons": reasons, "gateways": gateways}


def updated(text: str) -> str:
    """Return the README with each table between its marks as the code has it now."""
    for name, table in TABLES.items():
        between = re.compile(rf"(<!-- {name}:[^>]*-->\n).*?(\n<!-- end -->)", re.DOTALL)
        text, count = between.subn(lambda found, table=table: f"{found[1]}{table()}{found[2]}", text)  # type: ignore[misc]
        assert count == 1, name
    return text


if __name__ == "__main__":
    README.write_text(updated(README.read_text("utf-8")), "utf-8")
