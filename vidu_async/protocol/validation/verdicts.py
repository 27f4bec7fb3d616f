"""What the catalog says of a request: the first refusal when it is built, the doubts when it is submitted.

A *refusal* is for a value that no source allows. A *doubt* is for one that the newest official page does not have while
another source does, for one without effect, and for a model that nobody knows at this endpoint: of such a model only
what holds for the endpoint as a whole is checked. Everything here is a function of the given fields alone.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, NoReturn

from vidu_async.protocol import catalog
from vidu_async.protocol.catalog import CATALOG, Row
from vidu_async.protocol.checks import fault, hint, nearest, shown
from vidu_async.protocol.validation.asked import Asked, Choice, Found, Rule, span
from vidu_async.protocol.validation.callback_url import fault_of, risk_of
from vidu_async.protocol.validation.effects import combined, effects
from vidu_async.protocol.validation.references import (
    auto_subjects,
    clips,
    few_images,
    form,
    images,
    links,
    moving_subjects,
    subject_counts,
    subject_doubts,
)


def check(endpoint: str, given: Mapping[str, Any]) -> None:
    """Raise `ValidationError` for the first thing that no source allows."""
    asked = Asked(endpoint, given)
    for rule in _REFUSALS:
        for error in rule(asked):
            raise error


def doubts(endpoint: str, given: Mapping[str, Any], *, known_as: str | None, offered: bool) -> Found:
    """Return what is doubtful about a request that was not refused.

    Of a model that the gateway names otherwise, what its name under `known_as` does not have is a doubt, too: a row of
    it was not known when the request was built. With `offered` the model itself is in no doubt.
    """
    asked = Asked(endpoint, given, known_as)
    for rule in (*_REFUSALS, *_DOUBTS) if known_as else _DOUBTS:
        if not (offered and rule is _model):
            yield from rule(asked)


# Values


def _chosen(asked: Asked) -> Iterator[tuple[Choice, Any]]:
    """Return the choices that the model leaves, and what was chosen."""
    row, given = asked.row, asked.given
    if row is None:
        return
    if "duration" in given:
        yield Choice("duration", row.durations, row.also_durations, asked.place), given["duration"]
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


_NEAR_MODEL = 0.85
"""Names of models differ little: viduq4 is none of the others."""


def _model(asked: Asked) -> Found:
    models = CATALOG[asked.endpoint].models
    if asked.row is None:
        yield asked.wrong("model", f"model {shown(asked.model)} {_unknown(asked)}", models)
    elif asked.row.doubt:
        known = [model for model, row in models.items() if not row.doubt]
        said = f"model {shown(asked.model)} {asked.row.doubt} for {asked.endpoint}; the newest has {span(known)}"
        yield asked.wrong("model", said, known)


def _unknown(asked: Asked) -> str:
    models = CATALOG[asked.endpoint].models
    there = [name for name, endpoint in CATALOG.items() if asked.model in endpoint.models]
    if there:
        return f"is known at {', '.join(there)}, but not at {asked.endpoint}; it has {span(models)}"
    near = hint(asked.model, models, cutoff=_NEAR_MODEL)
    return f"is not known at {asked.endpoint}{near or f'; it has {span(models)}'}"


# Texts


def _payload(asked: Asked) -> Found:
    if (length := asked.count("payload")) > catalog.PAYLOAD_LIMIT:
        yield asked.wrong("payload", f"payload takes up to {catalog.PAYLOAD_LIMIT} characters, not {length}")


def _no_json(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


_json = json.JSONDecoder(parse_constant=_no_json, parse_int=str)  # int has a limit of digits, JSON has none


def _meta_data(asked: Asked) -> Found:
    try:
        _json.decode(asked.given.get("meta_data", "null"))
    except (ValueError, RecursionError) as error:
        yield asked.wrong("meta_data", f"meta_data must be JSON text: {error}, in {shown(asked.given['meta_data'])}")


def _long_prompt(asked: Asked) -> Found:
    length, (_, most) = asked.count("prompt"), CATALOG[asked.endpoint].prompt
    if length > most:
        yield asked.wrong("prompt", f"prompt takes up to {most} characters at {asked.endpoint}, not {length}")


def _longish_prompt(asked: Asked) -> Found:
    prompt, (limit, _) = asked.given.get("prompt", ""), CATALOG[asked.endpoint].prompt
    length, units = len(prompt), len(prompt.encode("utf-16-le")) // 2
    if length > limit:
        yield asked.wrong("prompt", f"prompt takes up to {limit} characters by some pages, not {length}")
    elif units > limit:  # pages do not say what a character is
        said = f"prompt has {length} characters, but {units} where an emoji counts as two; some pages allow {limit}"
        yield asked.wrong("prompt", said)


def _refused_callback(asked: Asked) -> Found:
    url = asked.given.get("callback_url", "")
    if wrong := fault_of(url):
        yield asked.wrong("callback_url", f"callback_url {shown(url)} {wrong}")


def _doubtful_callback(asked: Asked) -> Found:
    if risk := risk_of(asked.given.get("callback_url", "")):
        yield asked.wrong("callback_url", f"callback_url {risk}")


# Other fields


def check_extra(extra: Mapping[str, Any], names: Collection[str]) -> None:
    """Raise `ValidationError` for extra fields with a keyword of their own, and those that make it look an answer."""
    for name in extra:
        if name in names:
            raise fault(
                "extra", f"holds {name!r}, which has a keyword of its own: pass {name}={shown(extra[name])}", name
            )
    if {"task_id", "state"} <= extra.keys():
        raise fault("extra", "holds 'task_id' and 'state', which only an answer has together", "task_id")


def extra_doubts(extra: Mapping[str, Any], names: Iterable[str], others: Collection[str], place: str) -> Found:
    """Doubt a field of other endpoints, and a name that is nearly one of the class: the slip would be paid for."""
    known = [name for name in names if name != "extra"]
    for name in extra:
        if name.replace("-", "_").lower() in others:
            yield fault("extra", f"holds {shown(name)}, which {place} does not take", name, known)
        elif near := nearest(name, known):
            yield fault("extra", f"holds {shown(name)}. Did you mean {near!r}?", name, (near,))


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
    links,
    _longish_prompt,
    auto_subjects,
    moving_subjects,
    subject_doubts,
)
