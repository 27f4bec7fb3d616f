"""Which model offers what at which endpoint: durations, resolutions, aspect ratios. Tables and two look-ups.

Tolerant like the documentation as a whole: what one official or reseller page allows is allowed. The pages:
https://platform.vidu.com/docs/ text-to-video, image-to-video, start-end-to-video, reference-to-video,
reference-to-image and model-map.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Final

from attrs import frozen

from vidu_async.testing.refusals import Refusal, refuse_unless

FIVE: Final = ("16:9", "9:16", "1:1", "3:4", "4:3")
THREE: Final = FIVE[:3]
ANY: Final[tuple[str, ...]] = ()
"""No list: whatever is written like a ratio, or "auto"."""

_RATIO: Final = re.compile(r"[1-9]\d{0,3}:[1-9]\d{0,3}")


@frozen
class Offer:
    """Durations in seconds that share the same resolutions; the first resolution is the default."""

    durations: Collection[int]
    resolutions: tuple[str, ...]
    default: int = 5


_Q3: Final = (Offer(range(1, 17), ("720p", "540p", "1080p")),)
_Q3_FAST: Final = (Offer(range(1, 17), ("720p", "1080p")),)
_Q3_REFERENCE: Final = (Offer(range(3, 17), ("720p", "540p", "1080p")),)
_Q3_SPECIAL: Final = (Offer(range(3, 16), ("720p", "1080p")),)
_Q2: Final = (Offer(range(1, 11), ("720p", "540p", "1080p")),)
_Q2_FAST: Final = (Offer(range(1, 11), ("720p", "1080p")),)
_Q2_SHORT: Final = (Offer(range(1, 9), ("720p", "540p", "1080p")),)
_Q2_SHORT_FAST: Final = (Offer(range(1, 9), ("720p", "1080p")),)
_Q2_AUTO: Final = (Offer(range(11), ("720p", "540p", "1080p")),)
_Q1: Final = (Offer((5,), ("1080p",)),)
_OLD: Final = (Offer((4,), ("360p", "720p", "1080p"), 4), Offer((8,), ("720p",), 8))
_OLD_REFERENCE: Final = (Offer((4,), ("360p", "720p"), 4),)
# A picture has no duration.
_PICTURE_Q2: Final = (Offer((0,), ("1080p", "2K", "4K"), 0),)
_PICTURE_Q1: Final = (Offer((0,), ("1080p",), 0),)

OFFERS: Final[Mapping[str, Mapping[str, tuple[Offer, ...]]]] = {
    "text2video": {"viduq3-pro": _Q3, "viduq3-turbo": _Q3, "viduq2": _Q2, "viduq1": _Q1, "vidu1.5": _OLD},
    "img2video": {
        "viduq3-pro": _Q3,
        "viduq3-turbo": _Q3,
        "viduq3-pro-fast": _Q3_FAST,
        "viduq2": _Q2,
        "viduq2-pro": _Q2,
        "viduq2-turbo": _Q2,
        "viduq2-pro-fast": _Q2_FAST,
        "viduq1": _Q1,
        "viduq1-classic": _Q1,
        "vidu2.0": _OLD,
        "vidu1.5": _OLD,
    },
    "start-end2video": {
        "viduq3-pro": _Q3,
        "viduq3-turbo": _Q3,
        "viduq2": _Q2,
        "viduq2-pro": _Q2_SHORT,
        "viduq2-turbo": _Q2_SHORT,
        "viduq2-pro-fast": _Q2_SHORT_FAST,
        "viduq1": _Q1,
        "viduq1-classic": _Q1,
        "vidu2.0": _OLD,
    },
    "reference2video": {
        "viduq3-mix": _Q3,
        "viduq3": _Q3_REFERENCE,
        "viduq3-turbo": _Q3_REFERENCE,
        "viduq3-drama": _Q3_SPECIAL,
        "viduq3-ad": _Q3_SPECIAL,
        "viduq2-pro": _Q2_AUTO,
        "viduq2": _Q2,
        "viduq1": _Q1,
        "vidu2.0": _OLD_REFERENCE,
        "vidu1.5": _OLD_REFERENCE,
    },
    "reference2image": {"viduq2": _PICTURE_Q2, "viduq1": _PICTURE_Q1},
}

# Models an endpoint does not name here share the endpoint's own row, under "".
RATIOS: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    "text2video": {"": FIVE, "viduq1": THREE, "vidu1.5": THREE},
    # The documented example sends one although the endpoint has no such parameter; it has no effect.
    "img2video": {"": FIVE},
    "start-end2video": {"": ("",)},
    "reference2video": {"": ANY, "viduq1": FIVE, "vidu2.0": FIVE, "vidu1.5": FIVE},
    "reference2image": {
        "viduq2": (*FIVE, "21:9", "2:3", "3:2", "auto"),
        "viduq1": (*FIVE, "auto"),
    },
}


def choose(endpoint: str, model: str, duration: int | None, resolution: str | None) -> tuple[int, str]:
    """Return the duration and resolution a task will have, filling in the model's own defaults."""
    offers = OFFERS[endpoint].get(model, ())
    refuse_unless(offers, "ModelUnavailable", f"model {model} is not available for {endpoint}")
    wanted = offers[0].default if duration is None else duration
    offer = next((offer for offer in offers if wanted in offer.durations), None)
    if offer is None:
        raise Refusal("FieldInvalid", "duration")
    by_name = {name.lower(): name for name in offer.resolutions}
    name = offer.resolutions[0] if resolution is None else by_name.get(resolution.lower())
    refuse_unless(name, "FieldInvalid", "resolution")
    # A duration of 0 asks the service to choose.
    return wanted or offer.default, str(name)


def check_ratio(endpoint: str, model: str, ratio: str) -> None:
    """Refuse an aspect ratio the model does not offer."""
    rows = RATIOS[endpoint]
    allowed = rows.get(model, rows.get("", ANY))
    fits = ratio in allowed if allowed else ratio == "auto" or _RATIO.fullmatch(ratio)
    refuse_unless(fits, "FieldInvalid", "aspect_ratio")
