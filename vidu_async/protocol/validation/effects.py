"""Which fields have no effect with which models, or an unwanted one: a table, and one loop over it.

https://platform.vidu.com/docs/image-to-video and its neighbours; off-peak: https://platform.vidu.com/docs/pricing
"""

from collections.abc import Callable
from typing import Any

from attrs import frozen

from vidu_async.protocol import catalog
from vidu_async.protocol.catalog import OffPeak, Row
from vidu_async.protocol.validation.asked import Asked, Found


def hears(asked: Asked, row: Row) -> bool:
    """Whether a choice of voice or kind of sound has an effect: not with q3, and not without `audio`."""
    return row.sounds is False and asked.given.get("audio") is True


def _is_loose(asked: Asked) -> bool:
    """Whether it is a video of references that are no subjects."""
    return asked.endpoint == "reference2video" and bool(asked.count("images") or asked.count("videos"))


def _is_off_peak_odd(asked: Asked, row: Row) -> bool:
    sounds = asked.given.get("audio", bool(row.sounds))
    return row.off_peak is OffPeak.NONE or row.off_peak is (OffPeak.SILENT if sounds else OffPeak.SOUNDING)


@frozen
class Effect:
    """A field whose value `when` has no effect, or an unwanted one; `said` completes the sentence."""

    name: str
    when: Callable[[Asked, Row, Any], bool]
    said: str


NEEDS_AUDIO = "has no effect with q3 models, or without audio=True"

_EFFECTS = (
    Effect(
        "movement_amplitude",
        lambda _, row, value: not row.is_steered and value in catalog.AMPLITUDES[1:],
        "has no effect with {model}",
    ),
    Effect("style", lambda _, row, value: not row.is_steered and value != "general", "has no effect with {model}"),
    Effect(
        "bgm",
        lambda asked, row, value: value and asked.given.get("duration", row.seconds) > row.bgm_up_to,
        "has no effect with {model}{longer}",
    ),
    Effect("audio", lambda _, row, value: value and row.sounds is None, "is not offered with {model} at {endpoint}"),
    Effect(
        "audio",
        lambda asked, row, value: value and row.sounds is False and _is_loose(asked),
        "is not offered with {model} at {endpoint} without subjects",
    ),
    Effect(
        "off_peak",
        lambda asked, row, value: value and _is_off_peak_odd(asked, row),
        "{off_peak} with {model} at {endpoint}",
    ),
    Effect(
        "audio_type",
        lambda asked, row, _: not hears(asked, row),
        NEEDS_AUDIO,
    ),
    Effect("voice_id", lambda asked, row, _: not hears(asked, row), NEEDS_AUDIO),
)


def effects(asked: Asked) -> Found:
    """Doubt what the table has."""
    row, given = asked.row, asked.given
    if row is None:
        return
    for effect in _EFFECTS:
        if effect.name in given and effect.when(asked, row, given[effect.name]):
            longer = f" above {row.bgm_up_to} s" if row.bgm_up_to else ""
            words = {"model": asked.model, "endpoint": asked.endpoint, "off_peak": row.off_peak.value, "longer": longer}
            yield asked.wrong(effect.name, f"{effect.name} {effect.said.format(**words)}")


def combined(asked: Asked) -> Found:
    """Doubt what does not go together, whatever the model."""
    if asked.given.get("bgm") and asked.count("subjects"):
        yield asked.wrong("bgm", "bgm is not offered beside subjects on any page")
    if asked.given.get("is_rec") and asked.count("prompt"):
        yield asked.wrong("is_rec", "is_rec makes Vidu ignore the prompt")
