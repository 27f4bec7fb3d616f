"""Images, videos and subjects as they arrive: how many, in which form, and whether the bytes are as claimed.

A link is believed; a data URL is opened and its first bytes are looked at.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from vidu_async.testing.fields import SUBJECT_FIELDS, check_fields, check_required
from vidu_async.testing.refusals import Refusal, refuse_unless

_LINK: Final = re.compile(r"https?://[^\s/]+\S*|ssupload:\?id=\S+")
_DATA: Final = re.compile(r"data:([\w.+-]+/[\w.+-]+);base64,", re.ASCII)

_IMAGES: Final = {"image/png": "png", "image/jpeg": "jpeg", "image/jpg": "jpeg", "image/webp": "webp"}
_VIDEOS: Final = {
    "video/mp4": "mp4",
    "video/quicktime": "mp4",
    "video/mov": "mp4",
    "video/avi": "avi",
    "video/x-msvideo": "avi",
}

MOST_IMAGES: Final = 7
_MOST_IMAGES_BESIDE_VIDEOS: Final = 4
_MOST_VIDEOS: Final = 2
_MOST_SUBJECTS: Final = 7
_MOST_STILL_SUBJECTS_OF_Q2_PRO: Final = 4
_SLOTS_OF_A_SUBJECT: Final = 3
# The one model that looks at videos.
VIDEO_MODEL: Final = "viduq2-pro"


def _kind(content: bytes) -> str:
    """Return the format of `content` by its first bytes, or ""."""
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if content.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if content[:4] == b"RIFF":
        return {b"WEBP": "webp", b"AVI ": "avi"}.get(content[8:12], "")
    return "mp4" if content[4:8] in {b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"} else ""


def picture_kind(content: bytes) -> str:
    """Return the media type of a picture by its first bytes, or "" for what is none."""
    return {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}.get(_kind(content), "")


def _check_medium(value: str, formats: Mapping[str, str], reason: str, path: str) -> None:
    if _LINK.fullmatch(value):
        return
    refuse_unless(value.startswith("data:"), "FieldInvalid", path)
    head = _DATA.match(value)
    if head is None or head[1].lower() not in formats:
        raise Refusal(reason, path)
    try:
        content = base64.b64decode(value[head.end() :], validate=True)
    except (binascii.Error, ValueError):
        raise Refusal(reason, path) from None
    refuse_unless(_kind(content) == formats[head[1].lower()], reason, path)


def check_media(body: Mapping[str, Any], path: str = "") -> None:
    """Refuse an image or a video that is no link, no proper data URL, or not of the format it names."""
    for number, value in enumerate(body.get("images", ())):
        _check_medium(value, _IMAGES, "ImageFormatInvalid", f"{path}images[{number}]")
    for number, value in enumerate(body.get("videos", ())):
        _check_medium(value, _VIDEOS, "VideoFormatInvalid", f"{path}videos[{number}]")


def check_count(items: Sequence[object], least: int, most: int, path: str) -> None:
    """Refuse a list with fewer than `least` or more than `most` items."""
    refuse_unless(least <= len(items) <= most, "FieldItemCountOutOfRange", path)


def check_references(body: Mapping[str, Any]) -> None:
    """Refuse a reference2video body that has neither subjects nor media, both, or too many of either."""
    if "subjects" in body:
        for name in ("images", "videos"):
            refuse_unless(name not in body, "FieldUnwanted", name)
        _check_subjects(body["subjects"], str(body["model"]))
        return
    refuse_unless("images" in body or "videos" in body, "FieldLacking", "images")
    videos = body.get("videos", ())
    if "videos" in body:
        refuse_unless(body["model"] == VIDEO_MODEL, "FieldUnwanted", "videos")
        check_count(videos, 1, _MOST_VIDEOS, "videos")
    most = _MOST_IMAGES_BESIDE_VIDEOS if videos else MOST_IMAGES
    check_count(body.get("images", ()), 0 if videos else 1, most, "images")


def _check_subjects(subjects: Sequence[Mapping[str, Any]], model: str) -> None:
    check_count(subjects, 1, _MOST_SUBJECTS, "subjects")
    for number, subject in enumerate(subjects):
        check_subject(subject, model, f"subjects[{number}].")
    images = [image for subject in subjects for image in subject.get("images", ())]
    check_count(images, 0, MOST_IMAGES, "subjects")
    if model == VIDEO_MODEL:
        moving = [subject for subject in subjects if subject.get("videos")]
        check_count(moving, 0, 1, "subjects")
        check_count(subjects, 0, _MOST_STILL_SUBJECTS_OF_Q2_PRO + len(moving), "subjects")


def check_subject(subject: Mapping[str, Any], model: str, path: str) -> None:
    """Refuse one subject of a request: `name` (or `id`, as older pages say), and media or a `server_id`."""
    check_fields(subject, SUBJECT_FIELDS, path)
    refuse_unless(not {"name", "id"} <= subject.keys(), "FieldUnwanted", path + "id")
    check_required(subject, ("id" if "id" in subject else "name",), path)
    if "server_id" in subject:
        refuse_unless(not subject.keys() & {"images", "videos"}, "FieldUnwanted", path + "images")
    refuse_unless("videos" not in subject or model == VIDEO_MODEL, "FieldUnwanted", path + "videos")
    check_slots(subject, path)
    check_media(subject, path)


def check_slots(subject: Mapping[str, Any], path: str = "") -> None:
    """Refuse a subject with more than one video, or more than three images and videos together."""
    images, videos = subject.get("images", ()), subject.get("videos", ())
    check_count(videos, 0, 1, path + "videos")
    check_count(images, 0, _SLOTS_OF_A_SUBJECT - len(videos), path + "images")


def echoed(value: str, base_url: str) -> str:
    """Return how answers name a medium: a link as it is, a data URL as the link it was stored under."""
    head = _DATA.match(value)
    if head is None:
        return value
    digest = hashlib.sha256(value.encode()).hexdigest()[:32]
    return f"{base_url}/uploads/{digest}.{(_IMAGES | _VIDEOS)[head[1].lower()]}"
