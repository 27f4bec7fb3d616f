"""What the simulated service answers to creations, and which it refuses."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from asking import FOX, KEY, LINK, PNG, TEXT, Caller, calling, data_url
from source_pages import PAGES

JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF"
WEBP = b"RIFF\x00\x00\x00\x00WEBPVP8 "
MP4 = b"\x00\x00\x00\x18ftypisom"
AVI = b"RIFF\x00\x00\x00\x00AVI LIST"


@pytest.fixture
async def caller() -> AsyncIterator[Caller]:
    """A simulator, and somebody who asks it."""
    async with calling() as caller:
        yield caller


# Creation answers


async def test_a_video_answer_has_the_recorded_fields(caller: Caller) -> None:
    """Every field of a recorded answer, and no other, with the service's own defaults."""
    answer = await caller.create(body=FOX | {"payload": "row 7", "seed": 12345})
    created_at = answer.pop("created_at")
    task_id = answer.pop("task_id")
    assert answer == {
        "type": "img2video",
        "state": "created",
        "model": "viduq1",
        "style": "general",
        "prompt": "the fox runs",
        "images": [LINK],
        "duration": 5,
        "seed": 12345,
        "aspect_ratio": "",
        "resolution": "1080p",
        "movement_amplitude": "auto",
        "credits": 80,
        "payload": "row 7",
        "cus_priority": 0,
        "off_peak": False,
        "watermark": False,
        "is_rec": False,
        "wm_position": "unspecified",
        "wm_url": "",
        "meta_data": "",
        "client_request_id": "",
    }
    assert len(created_at) == len("2026-01-20T04:01:53.504648743Z")
    assert created_at.endswith("Z")
    assert len(task_id) == 18
    assert int(task_id) > 2**53


async def test_an_image_answer_has_its_own_smaller_set_of_fields(caller: Caller) -> None:
    """reference2image says neither type nor resolution."""
    answer = await caller.create("reference2image", {"model": "viduq2", "prompt": "a cat"})
    assert set(answer) == {
        "task_id",
        "state",
        "model",
        "prompt",
        "images",
        "seed",
        "aspect_ratio",
        "callback_url",
        "payload",
        "cus_priority",
        "credits",
        "created_at",
        "watermark",
    }
    assert (answer["credits"], answer["aspect_ratio"], answer["images"]) == (6, "auto", [])


@pytest.mark.parametrize("given", [{}, {"seed": 0}])
async def test_a_seed_is_chosen_where_none_is_given(caller: Caller, given: dict[str, int]) -> None:
    """Zero asks for a random seed as absence does."""
    assert (await caller.create(body=FOX | given))["seed"] > 0


@pytest.mark.parametrize("place", [3, "3", "bottom_right"])
async def test_a_watermark_position_is_answered_by_name(caller: Caller, place: object) -> None:
    """A number, the number in quotes and the name are one position."""
    assert (await caller.create(body=FOX | {"wm_position": place}))["wm_position"] == "bottom_right"


async def test_a_data_url_is_answered_as_a_link(caller: Caller) -> None:
    """The service stores what was sent and does not send it back."""
    answer = await caller.create(body=FOX | {"images": [data_url("image/png", PNG)]})
    assert answer["images"][0].startswith(f"{caller.vidu.url}/uploads/")
    assert answer["images"][0].endswith(".png")


async def test_ids_are_unique_and_increase(caller: Caller) -> None:
    """A later task has a greater id."""
    ids = [int((await caller.create())["task_id"]) for _ in range(20)]
    assert ids == sorted(set(ids))


# The bodies printed on the documentation pages

DOCUMENTED = {page.endpoint: page.request for page in PAGES}


@pytest.mark.parametrize("name", DOCUMENTED)
async def test_every_documented_example_is_accepted(caller: Caller, name: str) -> None:
    """What a page prints as an example cannot be wrong."""
    await caller.create(name, DOCUMENTED[name])


@pytest.mark.parametrize(
    ("endpoint", "body", "credits_", "kind"),
    [
        ("img2video", FOX, 80, "img2video"),
        ("start-end2video", FOX | {"images": [LINK, LINK]}, 80, "headtailimg2video"),
        ("reference2video", DOCUMENTED["reference2video"], 45, "character2video"),
        ("text2video", TEXT, 45, "text2video"),
        ("img2video", FOX | {"is_rec": True}, 90, "img2video"),
        ("text2video", TEXT | {"off_peak": True}, 23, "text2video"),
        ("img2video", FOX | {"model": "viduq2", "audio": True}, 60, "img2video"),
    ],
)
async def test_the_answer_names_price_and_type(
    caller: Caller, endpoint: str, body: dict[str, Any], credits_: int, kind: str
) -> None:
    """Prices are the documented ones; recommended prompts cost 10 more, off-peak half, rounded up."""
    answer = await caller.create(endpoint, body)
    assert (answer["credits"], answer["type"]) == (credits_, kind)


ACCEPTED = [
    ("img2video", {"model": "viduq2"}),
    ("img2video", {"model": "viduq3-turbo", "duration": 16, "resolution": "540p", "audio": True}),
    ("img2video", {"model": "vidu2.0", "duration": 8}),
    ("img2video", {"prompt": ""}),
    ("img2video", {"images": [data_url("image/jpg", JPEG)]}),
    ("img2video", {"images": [data_url("image/webp", WEBP)]}),
    ("start-end2video", {"model": "viduq2", "images": [LINK, LINK], "duration": 10}),
    ("start-end2video", {"model": "viduq2-turbo", "images": [LINK, LINK], "duration": 8}),
    ("reference2video", {"model": "viduq3", "aspect_ratio": "7:5"}),
    ("reference2video", {"model": "viduq3-mix", "aspect_ratio": "auto"}),
    ("reference2video", {"model": "viduq2-pro", "videos": [data_url("video/mp4", MP4)], "duration": 0}),
    ("reference2video", {"model": "viduq2-pro", "videos": [data_url("video/x-msvideo", AVI)]}),
    ("reference2image", {"model": "viduq2", "images": [], "resolution": "4K", "aspect_ratio": "21:9"}),
    ("reference2image", {"model": "viduq2", "resolution": "2k"}),
]


@pytest.mark.parametrize(("endpoint", "change"), ACCEPTED)
async def test_what_some_page_allows_is_accepted(caller: Caller, endpoint: str, change: dict[str, Any]) -> None:
    """Models, durations and forms that only some of the pages list."""
    await caller.create(endpoint, FOX | change)


async def test_a_duration_of_zero_lets_the_service_choose(caller: Caller) -> None:
    """The answer names the duration chosen."""
    answer = await caller.create("reference2video", FOX | {"model": "viduq2-pro", "duration": 0})
    assert answer["duration"] == 5


# Refusals

SUBJECT = {"name": "cat", "images": [LINK]}


def subjects(*items: Mapping[str, Any], model: str = "viduq2") -> dict[str, Any]:
    """Return a reference2video body."""
    return {"model": model, "prompt": "@cat", "subjects": list(items)}


LACKING, INVALID, UNWANTED = "FieldLacking", "FieldInvalid", "FieldUnwanted"
COUNT, IMAGE, VIDEO = "FieldItemCountOutOfRange", "ImageFormatInvalid", "VideoFormatInvalid"
REFERENCE = "reference2video"

REFUSED: list[tuple[str, dict[str, Any], str, str]] = [
    # Fields
    ("img2video", {"images": [LINK]}, LACKING, "model"),
    ("img2video", {"model": "", "images": [LINK]}, LACKING, "model"),
    ("img2video", {"model": "viduq1"}, LACKING, "images"),
    ("text2video", {"model": "viduq2"}, LACKING, "prompt"),
    ("text2video", {"model": "viduq2", "prompt": ""}, LACKING, "prompt"),
    ("reference2image", {"model": "viduq2"}, LACKING, "prompt"),
    ("img2video", FOX | {"sparkle": 1}, UNWANTED, "sparkle"),
    ("img2video", FOX | {"task_id": "1"}, UNWANTED, "task_id"),
    ("text2video", TEXT | {"images": [LINK]}, UNWANTED, "images"),
    ("reference2image", TEXT | {"duration": 5}, UNWANTED, "duration"),
    ("reference2image", TEXT | {"off_peak": True}, UNWANTED, "off_peak"),
    ("img2video", FOX | {"prompt": None}, INVALID, "prompt"),
    ("img2video", FOX | {"seed": None}, INVALID, "seed"),
    ("img2video", FOX | {"audio": "true"}, INVALID, "audio"),
    ("img2video", FOX | {"off_peak": 1}, INVALID, "off_peak"),
    ("img2video", FOX | {"seed": "0"}, INVALID, "seed"),
    ("img2video", FOX | {"duration": 5.0}, INVALID, "duration"),
    ("img2video", FOX | {"duration": True}, INVALID, "duration"),
    ("img2video", FOX | {"images": LINK}, INVALID, "images"),
    ("img2video", FOX | {"images": [{"url": LINK}]}, INVALID, "images"),
    ("img2video", FOX | {"payload": {"row": 7}}, INVALID, "payload"),
    ("img2video", FOX | {"meta_data": {"Label": "x"}}, INVALID, "meta_data"),
    # Values
    ("img2video", FOX | {"model": "viduq9"}, "ModelUnavailable", "viduq9"),
    ("text2video", TEXT | {"model": "viduq2-pro"}, "ModelUnavailable", "viduq2-pro"),
    ("img2video", FOX | {"duration": 6}, INVALID, "duration"),
    ("img2video", FOX | {"resolution": "720p"}, INVALID, "resolution"),
    ("img2video", FOX | {"model": "viduq3-pro-fast", "resolution": "540p"}, INVALID, "resolution"),
    ("img2video", FOX | {"model": "vidu2.0", "duration": 8, "resolution": "360p"}, INVALID, "resolution"),
    ("img2video", FOX | {"movement_amplitude": "huge"}, INVALID, "movement_amplitude"),
    ("img2video", FOX | {"audio_type": "some"}, INVALID, "audio_type"),
    ("text2video", TEXT | {"style": "noir"}, INVALID, "style"),
    ("text2video", TEXT | {"aspect_ratio": "21:9"}, INVALID, "aspect_ratio"),
    ("text2video", TEXT | {"model": "viduq1", "aspect_ratio": "4:3"}, INVALID, "aspect_ratio"),
    ("start-end2video", FOX | {"images": [LINK, LINK], "aspect_ratio": "1:1"}, INVALID, "aspect_ratio"),
    (REFERENCE, FOX | {"model": "viduq2", "aspect_ratio": "wide"}, INVALID, "aspect_ratio"),
    ("img2video", FOX | {"wm_position": 5}, INVALID, "wm_position"),
    ("img2video", FOX | {"wm_position": "middle"}, INVALID, "wm_position"),
    ("img2video", FOX | {"prompt": "x" * 5001}, INVALID, "prompt"),
    ("reference2image", TEXT | {"prompt": "x" * 2001}, INVALID, "prompt"),
    (REFERENCE, FOX | {"prompt": "x" * 2001}, INVALID, "prompt"),
    ("img2video", FOX | {"payload": "x" * 1_048_577}, INVALID, "payload"),
    # Counts
    ("img2video", FOX | {"images": []}, COUNT, "images"),
    ("img2video", FOX | {"images": [LINK] * 2}, COUNT, "images"),
    ("start-end2video", FOX, COUNT, "images"),
    ("reference2image", TEXT | {"images": [LINK] * 8}, COUNT, "images"),
    (REFERENCE, FOX | {"images": [LINK] * 8}, COUNT, "images"),
    (REFERENCE, FOX | {"images": []}, COUNT, "images"),
    (REFERENCE, FOX | {"model": "viduq2-pro", "images": [LINK] * 5, "videos": [LINK]}, COUNT, "images"),
    (REFERENCE, FOX | {"model": "viduq2-pro", "videos": [LINK] * 3}, COUNT, "videos"),
    (REFERENCE, subjects(), COUNT, "subjects"),
    (REFERENCE, subjects(*[SUBJECT] * 8), COUNT, "subjects"),
    (REFERENCE, subjects(*[SUBJECT | {"images": [LINK] * 3}] * 3), COUNT, "subjects"),
    (REFERENCE, subjects(SUBJECT | {"images": [LINK] * 4}), COUNT, "subjects[0].images"),
    (REFERENCE, subjects(*[SUBJECT] * 5, model="viduq2-pro"), COUNT, "subjects"),
    # Subjects and references
    (REFERENCE, TEXT, LACKING, "images"),
    (REFERENCE, subjects(SUBJECT) | {"images": [LINK]}, UNWANTED, "images"),
    (REFERENCE, FOX | {"videos": [LINK]}, UNWANTED, "videos"),
    (REFERENCE, subjects({"images": [LINK]}), LACKING, "subjects[0].name"),
    (REFERENCE, subjects(SUBJECT | {"id": "cat"}), UNWANTED, "subjects[0].id"),
    (REFERENCE, subjects(SUBJECT | {"colour": "red"}), UNWANTED, "subjects[0].colour"),
    (REFERENCE, subjects(SUBJECT | {"server_id": "1"}), UNWANTED, "subjects[0].images"),
    (REFERENCE, subjects({"name": "cat", "server_id": "1"}), INVALID, "subjects[0].server_id"),
    (REFERENCE, subjects({"name": "cat", "videos": [LINK]}), UNWANTED, "subjects[0].videos"),
    (REFERENCE, {"model": "viduq2", "prompt": "x", "subjects": ["cat"]}, INVALID, "subjects"),
    # Media
    ("img2video", FOX | {"images": ["fox.png"]}, INVALID, "images[0]"),
    ("img2video", FOX | {"images": [""]}, INVALID, "images[0]"),
    ("img2video", FOX | {"images": ["data:image/png;base64,!!"]}, IMAGE, "images[0]"),
    ("img2video", FOX | {"images": ["data:image/png,abc"]}, IMAGE, "images[0]"),
    ("img2video", FOX | {"images": [data_url("image/png", b"not an image")]}, IMAGE, "images[0]"),
    ("img2video", FOX | {"images": [data_url("image/png", JPEG)]}, IMAGE, "images[0]"),
    ("img2video", FOX | {"images": [data_url("image/gif", b"GIF89a")]}, IMAGE, "images[0]"),
    ("start-end2video", FOX | {"images": [LINK, data_url("image/png", b"")]}, IMAGE, "images[1]"),
    (REFERENCE, FOX | {"model": "viduq2-pro", "videos": [data_url("video/mp4", PNG)]}, VIDEO, "videos[0]"),
    (REFERENCE, subjects(SUBJECT | {"images": ["data:image/png;base64,abc"]}), IMAGE, "subjects[0].images[0]"),
]


@pytest.mark.parametrize(("endpoint", "body", "reason", "field"), REFUSED)
async def test_a_documented_refusal(
    caller: Caller, endpoint: str, body: dict[str, Any], reason: str, field: str
) -> None:
    """Status 400, the service's own error body, the field's name in it, and nothing accepted or charged."""
    status, answer = await caller.post(endpoint, body)
    assert status == 400
    assert (answer["code"], answer["reason"]) == (400, reason)
    assert field in answer["message"]
    assert answer["metadata"]["trace_id"]
    assert (caller.vidu.accepted, caller.vidu.charged) == ([], 0)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", "application/json"),
        (b"{", "application/json"),
        (b"[]", "application/json"),
        (b'{"seed": NaN}', "application/json"),
        (b"\xff", "application/json"),
        (b"[" * 100_000, "application/json"),
        (json.dumps(FOX).encode(), "text/plain"),
        (json.dumps(FOX).encode(), "application/octet-stream"),
    ],
)
async def test_a_body_that_is_no_json_object_is_refused(caller: Caller, body: bytes, kind: str) -> None:
    """Broken JSON, another kind of value, and another content type are bad requests."""
    status, answer = await caller.send("img2video", body, kind)
    assert (status, answer["reason"]) == (400, "BadRequest")


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "fox"])
@pytest.mark.parametrize("body", [json.dumps(FOX).encode(), gzip.compress(json.dumps(FOX).encode(), mtime=0)])
async def test_a_compressed_body_is_refused(caller: Caller, encoding: str, body: bytes) -> None:
    """Whether or not it is what it says; and the next request on the connection is answered."""
    headers = KEY | {"Content-Type": "application/json", "Content-Encoding": encoding}
    status, answer = await caller.ask("POST", "img2video", data=io.BytesIO(body), headers=headers)
    assert (status, answer["message"]) == (400, f"Content-Encoding {encoding} is not read here")
    assert (await caller.ask("GET", "credits"))[0] == 200


async def test_a_body_above_twenty_mebibytes_is_refused(caller: Caller) -> None:
    """One byte more than the limit is too much, the limit is not."""
    limit = 20 * 1024 * 1024
    body = json.dumps(FOX).encode()
    status, answer = await caller.send("img2video", body.ljust(limit + 1))
    assert (status, answer["code"]) == (413, 413)
    status, answer = await caller.send("img2video", body.ljust(limit))
    assert (status, answer["state"]) == (200, "created")


async def test_an_unknown_path_and_a_wrong_method_are_refused_in_the_same_form(caller: Caller) -> None:
    """404 and 405 come with Vidu's error body too."""
    status, answer = await caller.ask("GET", "nothing")
    assert (status, answer["reason"]) == (404, "NotFound")
    status, answer = await caller.ask("PUT", "img2video")
    assert (status, answer["reason"]) == (405, "MethodNotAllowed")


async def test_an_unknown_task_is_not_found(caller: Caller) -> None:
    """The id of another run is nobody's."""
    status, answer = await caller.ask("GET", "tasks/911045603801182208/creations")
    assert (status, answer["reason"]) == (404, "TaskNotFound")


# Authorization


@pytest.mark.parametrize("scheme", ["Bearer", "Token"])
async def test_both_schemes_are_accepted(caller: Caller, scheme: str) -> None:
    """Vidu says Token, gateways say Bearer."""
    status, _ = await caller.ask("GET", "credits", headers={"Authorization": f"{scheme} sk-simulator"})
    assert status == 200


@pytest.mark.parametrize("value", [None, "", "sk-simulator", "Bearer", "Bearer other", "Basic sk-simulator"])
async def test_any_other_authorization_is_refused(caller: Caller, value: str | None) -> None:
    """401 in Vidu's form."""
    headers = {} if value is None else {"Authorization": value}
    status, answer = await caller.ask("POST", "img2video", json=FOX, headers=headers)
    assert (status, answer["code"], answer["reason"]) == (401, 401, "Unauthorized")
    assert caller.vidu.accepted == []
