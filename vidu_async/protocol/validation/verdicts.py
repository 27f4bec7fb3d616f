"""What the catalog says of a request: the first refusal when it is built, the doubts when it is submitted.

A *refusal* is for a value that no source allows. A *doubt* is for one that the newest official page does not have while
another source does, for one without effect, and for a model that nobody knows at this endpoint: of such a model only
what holds for the endpoint as a whole is checked. Everything here is a function of the given fields alone.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from vidu_async.protocol import catalog
from vidu_async.protocol.catalog import CATALOG, Row
from vidu_async.protocol.checks import hint, nearest, shown
from vidu_async.protocol.errors import ValidationError
from vidu_async.protocol.validation.asked import Asked, Choice, Found, Rule, span
from vidu_async.protocol.validation.callback_url import fault_of, risk_of
from vidu_async.protocol.validation.effects import combined, effects
from vidu_async.protocol.validation.references import (
    auto_subjects,
    clips,
    few_images,
    form,
    images,
    subject_counts,
    subject_doubts,
)


def check(endpoint: str, given: Mapping[str, Any]) -> None:
    """Raise `ValidationError` for the first thing that no source allows."""
    asked = Asked(endpoint, given)
    for rule in _REFUSALS:
        for error in rule(asked):
            raise error


def doubts(endpoint: str, given: Mapping[str, Any], names: Iterable[str]) -> list[ValidationError]:
    """Return what is doubtful about a request that was not refused; `names` are the fields its class has."""
    asked = Asked(endpoint, given)
    found = [error for rule in _DOUBTS for error in rule(asked)]
    return [*found, *extra_doubts(given.get("extra", {}), names)]


# Values


def _chosen(asked: Asked) -> Iterator[tuple[Choice, Any]]:
    """Return the choices that the model leaves, and what was chosen."""
    row, given = asked.row, asked.given
    if row is None:
        return
    if "duration" in given:
        listed, also = (
            sorted({seconds for offer in offers for seconds in offer.durations}) for offers in (row.offers, row.also)
        )
        yield Choice("duration", listed, also, asked.place), given["duration"]
    if "resolution" in given:
        yield _resolutions(asked, row), given["resolution"]
    if "aspect_ratio" in given:
        yield Choice("aspect_ratio", row.ratios, row.also_ratios, asked.place), given["aspect_ratio"]


def _resolutions(asked: Asked, row: Row) -> Choice:
    """Return the resolutions at the duration given; those of all durations, if the duration is the doubtful one."""
    seconds = asked.given.get("duration", row.seconds)
    listed, also = (
        [name for offer in offers if seconds in offer.durations for name in offer.resolutions]
        for offers in (row.offers, row.also)
    )
    place = f"{asked.place} with duration {seconds}" if len(row.offers) > 1 else asked.place
    return Choice("resolution", listed or row.offers[0].resolutions, also, place)


def _refused_values(asked: Asked) -> Found:
    for choice, value in _chosen(asked):
        yield from choice.refuse(value)


def _doubtful_values(asked: Asked) -> Found:
    for choice, value in _chosen(asked):
        yield from choice.doubt(value)


_CLOSED = {"style": catalog.STYLES, "audio_type": catalog.AUDIO_TYPES}


def _closed(asked: Asked) -> Found:
    for name, words in _CLOSED.items():
        if name in asked.given:
            yield from Choice(name, words, (), f"at {asked.endpoint}").refuse(asked.given[name])


def _amplitude(asked: Asked) -> Found:
    value = asked.given.get("movement_amplitude", "auto")
    if value not in catalog.AMPLITUDES:
        words = catalog.AMPLITUDES
        said = f"movement_amplitude is {span(words)}; no table has {shown(value)}{hint(value, words)}"
        yield asked.wrong("movement_amplitude", said, words)


def _model(asked: Asked) -> Found:
    models = CATALOG[asked.endpoint].models
    if asked.row is None:
        near = hint(asked.model, models, most=3) or f"; it has {span(models)}"
        yield asked.wrong("model", f"model {shown(asked.model)} is not known at {asked.endpoint}{near}", models)
    elif asked.row.doubt:
        known = [model for model, row in models.items() if not row.doubt]
        said = f"model {shown(asked.model)} {asked.row.doubt} for {asked.endpoint}; the newest has {span(known)}"
        yield asked.wrong("model", said, known)


# Texts


def _payload(asked: Asked) -> Found:
    if (length := asked.count("payload")) > catalog.PAYLOAD_LIMIT:
        yield asked.wrong("payload", f"payload takes up to {catalog.PAYLOAD_LIMIT} characters, not {length}")


def _meta_data(asked: Asked) -> Found:
    try:
        json.loads(asked.given.get("meta_data", "null"))
    except (ValueError, RecursionError) as error:
        yield asked.wrong("meta_data", f"meta_data must be JSON text: {error}, in {shown(asked.given['meta_data'])}")


def _long_prompt(asked: Asked) -> Found:
    if (length := asked.count("prompt")) > catalog.PROMPT_LIMIT:
        yield asked.wrong("prompt", f"prompt takes up to {catalog.PROMPT_LIMIT} characters, not {length}")


def _longish_prompt(asked: Asked) -> Found:
    prompt, limit = asked.given.get("prompt", ""), catalog.PROMPT_LISTED
    units = len(prompt.encode("utf-16-le")) // 2
    if len(prompt) > limit:
        yield asked.wrong("prompt", f"prompt takes up to {limit} characters by some pages, not {len(prompt)}")
    elif units > limit:  # pages do not say what a character is
        said = (
            f"prompt has {len(prompt)} characters, but {units} where an emoji counts as two; some pages allow {limit}"
        )
        yield asked.wrong("prompt", said)


def _refused_callback(asked: Asked) -> Found:
    url = asked.given.get("callback_url", "")
    if fault := fault_of(url):
        yield asked.wrong("callback_url", f"callback_url {fault}, not {shown(url)}")


def _doubtful_callback(asked: Asked) -> Found:
    if risk := risk_of(asked.given.get("callback_url", "")):
        yield asked.wrong("callback_url", f"callback_url {risk}")


# Other fields

_NO_RATIO = frozenset({"img2video", "start-end2video"})


def _ratio_in_extra(asked: Asked) -> Found:
    if asked.endpoint in _NO_RATIO and "aspect_ratio" in asked.given.get("extra", {}):
        said = f"extra holds 'aspect_ratio', which {asked.endpoint} does not take: the first picture decides"
        yield asked.wrong("extra", said)


def extra_doubts(extra: Mapping[str, Any], names: Iterable[str]) -> Found:
    """Doubt the name of a field that is nearly one that the class has: the slip would be paid for."""
    known = [name for name in names if name != "extra"]
    for name in extra:
        for near in nearest(name, known, cutoff=0.8):
            said = f"extra holds {shown(name)}. Did you mean {near!r}?"
            yield ValidationError(said, field="extra", value=name, allowed=(near,))


_REFUSALS: tuple[Rule, ...] = (
    _payload,
    _refused_callback,
    _refused_values,
    _meta_data,
    images,
    _long_prompt,
    form,
    clips,
    subject_counts,
    _closed,
)
_DOUBTS: tuple[Rule, ...] = (
    _model,
    _doubtful_callback,
    _doubtful_values,
    _amplitude,
    effects,
    combined,
    few_images,
    _longish_prompt,
    auto_subjects,
    subject_doubts,
    _ratio_in_extra,
)
