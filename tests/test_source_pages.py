"""What the gateway's pages print: every request builds and is sent so, every response reads into a task."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from attrs import fields
from source_pages import (
    IMAGE_TO_VIDEO,
    PAGES,
    REFERENCE_TO_IMAGE,
    REFERENCE_TO_VIDEO,
    START_END_TO_VIDEO,
    SUBJECT_FIELDS,
    SourcePage,
)

from vidu_async import (
    Gateway,
    ImageToVideo,
    RawRequest,
    ReferenceToImage,
    ReferenceToVideo,
    StartEndToVideo,
    Subject,
    Task,
    TaskState,
    request_from_wire,
)
from vidu_async.media import encoded, resolved
from vidu_async.protocol import calls
from vidu_async.protocol.answers import Answer
from vidu_async.protocol.wire import read_task

CLASSES = {kind.endpoint: kind for kind in (ImageToVideo, StartEndToVideo, ReferenceToImage, ReferenceToVideo)}

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.endpoint)


def asked(page: SourcePage) -> dict[str, Any]:
    """Return what a page's example asks for: of a response printed as a request, the request's filled fields."""
    if "task_id" not in page.request:
        return page.request
    return filled(page, page.request)


def filled(page: SourcePage, printed: dict[str, Any]) -> dict[str, Any]:
    """Return the fields that belong to a page's request and say something."""
    names = {attribute.name for attribute in fields(CLASSES[page.endpoint])}
    return {name: value for name, value in printed.items() if name in names and value not in ("", [])}


def read(response: dict[str, Any]) -> Task:
    """Read a response as it comes from a server."""
    return read_task(Answer(200, json.dumps(response).encode()))


@every_page
def test_a_printed_request_is_sent_as_printed(page: SourcePage) -> None:
    """What the page sends with curl is what the library sends."""
    request = request_from_wire(page.endpoint, page.request)

    assert type(request) is CLASSES[page.endpoint]
    assert request.to_wire() == asked(page)


@every_page
def test_a_printed_request_survives_json_and_goes_to_its_own_path(page: SourcePage) -> None:
    """The bytes of the body hold the example, and the URL is the page's."""
    call = calls.create(Gateway.kkiai(), request_from_wire(page.endpoint, page.request))

    assert (call.method, call.url) == ("POST", f"https://www.kkiai.com/ent/v2/{page.endpoint}")
    assert json.loads(encoded(resolved(call.body or {}), str)) == asked(page)


@every_page
def test_a_printed_request_goes_through_a_raw_request_unchanged(page: SourcePage) -> None:
    """Who trusts the page more than the library sends its JSON as it stands."""
    assert RawRequest(page.endpoint, page.request).to_wire() == page.request


@every_page
def test_every_field_of_a_pages_table_is_a_keyword(page: SourcePage) -> None:
    """Nothing that a page documents needs `extra`."""
    assert {*page.fields} <= {attribute.name for attribute in fields(CLASSES[page.endpoint])}
    assert {*SUBJECT_FIELDS} <= {attribute.name for attribute in fields(Subject)}


def test_the_image_page_sends_an_undocumented_ratio_in_its_example_and_so_do_we() -> None:
    """`aspect_ratio` is no parameter of img2video, so it travels in `extra`."""
    request = request_from_wire(IMAGE_TO_VIDEO.endpoint, IMAGE_TO_VIDEO.request)

    assert isinstance(request, ImageToVideo)
    assert request.extra == {"aspect_ratio": "16:9"}
    assert request.movement_amplitude == "standard"


def test_the_start_end_pages_example_loses_what_only_a_response_has() -> None:
    """The page prints a response as its request: task id, credits and the like are never sent."""
    sent = request_from_wire(START_END_TO_VIDEO.endpoint, START_END_TO_VIDEO.request).to_wire()

    assert sent.keys() == {
        *("model", "prompt", "images", "duration", "seed", "resolution"),
        *("movement_amplitude", "off_peak", "watermark", "is_rec", "wm_position"),
    }
    assert sent["wm_position"] == 1


def test_the_reference_pages_subject_keeps_its_name_under_id() -> None:
    """The table says `name`, the example `id`: what was given is what is sent."""
    request = request_from_wire(REFERENCE_TO_VIDEO.endpoint, REFERENCE_TO_VIDEO.request)

    assert isinstance(request, ReferenceToVideo)
    (subject,) = request.subjects
    assert (subject.name, subject.name_key) == ("cat", "id")
    assert request.to_wire()["subjects"] == REFERENCE_TO_VIDEO.request["subjects"]


@every_page
def test_a_printed_response_reads_into_a_task_with_each_documented_field(page: SourcePage) -> None:
    """Typed where the task has a field for it, in `raw` in any case."""
    task = read(page.response)

    assert (task.id, task.state, task.state_text) == (page.response["task_id"], TaskState.CREATED, "created")
    for name in ("type", "model", "prompt", "credits", "duration", "resolution", "seed", "off_peak"):
        assert getattr(task, name) == page.response.get(name), name
    assert task.payload == (page.response["payload"] or None)
    assert {name: task.raw[name] for name in page.answered} == {name: page.response[name] for name in page.answered}
    assert task.raw == page.response
    assert (task.creations, task.err_code, task.progress) == ((), None, None)


@pytest.mark.parametrize(
    ("page", "moment"),
    [
        pytest.param(IMAGE_TO_VIDEO, datetime(2026, 1, 20, 4, 1, 53, 504648, UTC), id="img2video"),
        pytest.param(START_END_TO_VIDEO, datetime(2026, 1, 20, 6, 52, 2, 323137, UTC), id="start-end2video"),
        pytest.param(REFERENCE_TO_IMAGE, datetime(2026, 1, 20, 7, 8, 12, 262592, UTC), id="reference2image"),
        pytest.param(REFERENCE_TO_VIDEO, datetime(2026, 1, 20, 6, 37, 57, 371761, UTC), id="reference2video"),
    ],
)
def test_a_printed_moment_of_creation_is_read_to_the_microsecond(page: SourcePage, moment: datetime) -> None:
    """Nine fractional digits are more than a datetime holds."""
    assert read(page.response).created_at == moment


@every_page
def test_what_a_printed_response_echoes_builds_a_request(page: SourcePage) -> None:
    """So that a result can be asked for again; what only an answer has is left out."""
    request = request_from_wire(page.endpoint, page.response)

    echoed = filled(page, page.response)
    echoed.pop("wm_position", None)  # "unspecified" is the answer's word for none
    assert request.to_wire() == echoed
