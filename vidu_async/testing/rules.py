"""What a creation request means: in goes the body, out comes an `Order` with every default filled in.

The order of the checks is the order in which a caller would want to hear: fields, model, media, values.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from attrs import field, frozen

from vidu_async.testing import media
from vidu_async.testing.fields import (
    FIELDS,
    PROMPT_LENGTH,
    REQUIRED,
    SHORT_PROMPT_LENGTH,
    STORED_SUBJECT_FIELDS,
    check_fields,
    check_lengths,
    check_required,
    watermark_place,
)
from vidu_async.testing.offers import OFFERS, check_ratio, choose
from vidu_async.testing.refusals import refuse_unless

ENDPOINTS: Final = tuple(OFFERS)
IMAGE_ENDPOINT: Final = "reference2image"

_IMAGE_COUNTS: Final = {
    "img2video": (1, 1),
    "start-end2video": (2, 2),
    IMAGE_ENDPOINT: (0, media.MOST_IMAGES),
}

# Credits per second. The two video prices known from documented answers, 80 for five seconds of 1080p and
# 45 for five of 720p, fix two of them; the others keep the distance.
_PER_SECOND: Final = {"360p": 4, "540p": 6, "720p": 9, "1080p": 16}
_PER_IMAGE: Final = 6
_RECOMMENDED_PROMPT: Final = 10
_Q2_AUDIO: Final = 15


@frozen
class Order:
    """An accepted creation request: `request` is the body as received, the rest what became of it."""

    endpoint: str
    request: dict[str, Any] = field(repr=False)
    model: str
    duration: int
    resolution: str
    aspect_ratio: str
    wm_position: str
    price: int
    """Credits."""

    @property
    def media(self) -> list[str]:
        """The images of the request, those of its subjects included, in order."""
        subjects = self.request.get("subjects", ())
        return [image for holder in (self.request, *subjects) for image in holder.get("images", ())]


def read_order(endpoint: str, body: dict[str, Any]) -> Order:
    """Return what `body` orders from `endpoint`. Raises `Refusal` with the first thing wrong with it."""
    check_fields(body, FIELDS[endpoint])
    check_required(body, REQUIRED[endpoint])
    model = str(body["model"])
    duration, resolution = choose(endpoint, model, body.get("duration"), body.get("resolution"))
    _check_media(endpoint, body)
    check_lengths(body, _prompt_length(endpoint, body))
    if "aspect_ratio" in body:
        check_ratio(endpoint, model, body["aspect_ratio"])
    return Order(
        endpoint=endpoint,
        request=body,
        model=model,
        duration=duration,
        resolution=resolution,
        aspect_ratio=_ratio(endpoint, body),
        wm_position=watermark_place(body.get("wm_position", 0)),
        price=_price(endpoint, body, duration, resolution),
    )


def check_stored_subject(body: Mapping[str, Any]) -> None:
    """Refuse a body that is no subject to be stored: a name, and one to three images or videos."""
    check_fields(body, STORED_SUBJECT_FIELDS)
    check_required(body, ("name",))
    refuse_unless(body.get("images") or body.get("videos"), "FieldLacking", "images")
    media.check_slots(body)
    media.check_media(body)


def _check_media(endpoint: str, body: Mapping[str, Any]) -> None:
    if endpoint == "reference2video":
        media.check_references(body)
    elif endpoint in _IMAGE_COUNTS:
        media.check_count(body.get("images", ()), *_IMAGE_COUNTS[endpoint], "images")
    media.check_media(body)


def _prompt_length(endpoint: str, body: Mapping[str, Any]) -> int:
    short = endpoint == IMAGE_ENDPOINT or (endpoint == "reference2video" and "subjects" not in body)
    return SHORT_PROMPT_LENGTH if short else PROMPT_LENGTH


def _ratio(endpoint: str, body: Mapping[str, Any]) -> str:
    """Return the aspect ratio an answer names; "" where the first frame decides it."""
    if endpoint in {"img2video", "start-end2video"}:
        return ""
    if endpoint == IMAGE_ENDPOINT and not body.get("images"):
        return str(body.get("aspect_ratio", "auto"))
    return str(body.get("aspect_ratio", "16:9"))


def _price(endpoint: str, body: Mapping[str, Any], duration: int, resolution: str) -> int:
    if endpoint == IMAGE_ENDPOINT:
        return _PER_IMAGE
    price = _PER_SECOND[resolution] * duration
    price += _RECOMMENDED_PROMPT if body.get("is_rec") else 0
    price += _Q2_AUDIO if body.get("audio") and body["model"].startswith("viduq2") else 0
    # Half, rounded up.
    return -(-price // 2) if body.get("off_peak") else price
