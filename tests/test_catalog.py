"""What each model takes at each endpoint: refused, doubted, or sent without a word."""

from __future__ import annotations

import gc
import itertools
import json
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
from attrs import evolve, frozen
from hypothesis import given, settings
from hypothesis import strategies as st
from source_pages import PAGES, START_END_TO_VIDEO

import vidu_async
from vidu_async import (
    Gateway,
    ImageToVideo,
    RawRequest,
    ReferenceToImage,
    ReferenceToVideo,
    StartEndToVideo,
    Subject,
    TextToVideo,
    ValidationError,
    ViduWarning,
    request_from_wire,
)
from vidu_async.protocol import calls
from vidu_async.testing.refusals import Refusal
from vidu_async.testing.rules import read_order

LINK = "https://example.com/fox.png"
CLIP = "https://example.com/fox.mp4"
KINDS: dict[str, Any] = {
    kind.endpoint: kind for kind in (TextToVideo, ImageToVideo, StartEndToVideo, ReferenceToVideo, ReferenceToImage)
}
IMAGES = {"text2video": 0, "img2video": 1, "start-end2video": 2, "reference2video": 1, "reference2image": 1}

# Endpoint, models, seconds, resolutions, aspect ratios; "-" where there is no such field. The pages:
# https://platform.vidu.com/docs/ text-to-video, image-to-video, start-end-to-video, reference-to-video,
# reference-to-image. viduq2 of the two endpoints with frames is from the default gateway's pages.
LISTED = """
text2video       viduq3-pro,viduq3-turbo             1-16  540p,720p,1080p  16:9,9:16,1:1,3:4,4:3
text2video       viduq2                              1-10  540p,720p,1080p  16:9,9:16,1:1,3:4,4:3
text2video       viduq1                              5     1080p            16:9,9:16,1:1
img2video        viduq3-pro,viduq3-turbo             1-16  540p,720p,1080p  -
img2video        viduq3-pro-fast                     1-16  720p,1080p       -
img2video        viduq2,viduq2-pro,viduq2-turbo      1-10  540p,720p,1080p  -
img2video        viduq2-pro-fast                     1-10  720p,1080p       -
img2video        viduq1,viduq1-classic               5     1080p            -
img2video        vidu2.0                             4     360p,720p,1080p  -
img2video        vidu2.0                             8     720p             -
start-end2video  viduq3-pro,viduq3-turbo             1-16  540p,720p,1080p  -
start-end2video  viduq2                              1-10  540p,720p,1080p  -
start-end2video  viduq2-pro,viduq2-turbo             1-8   540p,720p,1080p  -
start-end2video  viduq2-pro-fast                     1-8   720p,1080p       -
start-end2video  viduq1,viduq1-classic               5     1080p            -
start-end2video  vidu2.0                             4     360p,720p,1080p  -
start-end2video  vidu2.0                             8     720p             -
reference2video  viduq3-mix                          3-16  720p,1080p       16:9,9:16,1:1
reference2video  viduq3,viduq3-turbo                 3-16  540p,720p,1080p  16:9,9:16,1:1
reference2video  viduq2-pro                          0-10  540p,720p,1080p  any
reference2video  viduq2                              1-10  540p,720p,1080p  any
reference2video  viduq1                              5     1080p            16:9,9:16,1:1
reference2video  vidu2.0                             4     360p,720p        16:9,9:16,1:1
reference2image  viduq2                              -     1080p,2K,4K      16:9,9:16,1:1,3:4,4:3,21:9,2:3,3:2,auto
reference2image  viduq1                              -     1080p            16:9,9:16,1:1,3:4,4:3,auto
"""
# What only older pages, the model map, the default gateway's pages or an application have.
ELSEWHERE = """
text2video       vidu1.5                             4     360p,720p,1080p  16:9,9:16,1:1
text2video       vidu1.5                             8     720p             16:9,9:16,1:1
img2video        vidu1.5                             4     360p,720p,1080p  -
img2video        vidu1.5                             8     720p             -
start-end2video  viduq2-pro,viduq2-turbo             9-10  540p,720p,1080p  -
start-end2video  viduq2-pro-fast                     9-10  720p,1080p       -
reference2video  viduq3-mix                          1-16  540p,720p,1080p  any
reference2video  viduq3,viduq3-turbo                 3-16  540p,720p,1080p  any
reference2video  viduq3-drama,viduq3-ad              3-15  720p,1080p       any
reference2video  viduq1                              5     1080p            3:4,4:3
reference2video  vidu2.0                             4     360p,720p        3:4,4:3
reference2video  vidu1.5                             4     360p,720p,1080p  16:9,9:16,1:1,3:4,4:3
reference2video  vidu1.5                             8     720p             16:9,9:16,1:1,3:4,4:3
reference2image  viduq2                              -     2k,4k            -
"""


@frozen
class Line:
    """One line of the tables above, for one model."""

    endpoint: str
    model: str
    seconds: frozenset[int]
    resolutions: tuple[str, ...]
    ratios: tuple[str, ...]

    def has(self, values: dict[str, Any]) -> bool:
        """Whether a line has a value of each field."""
        columns = {"duration": self.seconds, "resolution": self.resolutions, "aspect_ratio": self.ratios}
        any_ratio = self.ratios == ("any",) and is_ratio(values.get("aspect_ratio", ""))
        return all(value in columns[name] or (name == "aspect_ratio" and any_ratio) for name, value in values.items())


def is_ratio(value: str) -> bool:
    """Whether it is W:H or `auto`."""
    width, _, height = value.partition(":")
    return value == "auto" or all(side.isdecimal() and str(int(side)) == side != "0" for side in (width, height))


def lines_of(table: str) -> Iterator[Line]:
    """Read a table."""
    for line in table.split("\n")[1:-1]:
        endpoint, models, seconds, resolutions, ratios = line.split()
        first, _, last = seconds.partition("-")
        whole = frozenset(range(int(first), int(last or first) + 1)) if first else frozenset()
        for model in models.split(","):
            yield Line(endpoint, model, whole, tuple(resolutions.split(",")), tuple(ratios.split(",")))


LINES = {False: [*lines_of(LISTED)], True: [*lines_of(LISTED), *lines_of(ELSEWHERE)]}
ROWS = sorted({(line.endpoint, line.model) for line in LINES[True]})
every_row = pytest.mark.parametrize(("endpoint", "model"), ROWS, ids="-".join)


def is_in(endpoint: str, model: str, values: dict[str, Any], *, elsewhere: bool) -> bool:
    """Whether the tables have the values: duration and resolution together, the ratio by itself."""
    rows = [line for line in LINES[elsewhere] if (line.endpoint, line.model) == (endpoint, model)]
    asked = dict(values)
    ratio = {"aspect_ratio": asked.pop("aspect_ratio")} if "aspect_ratio" in asked else {}
    if endpoint != "reference2image":
        asked.setdefault("duration", 4 if model in {"vidu2.0", "vidu1.5"} else 5)
    return any(line.has(asked) for line in rows) and any(line.has(ratio) for line in rows)


def build(endpoint: str, **values: Any) -> Any:
    """Build a request of what is needed and what is given."""
    needed = {"images": [LINK] * IMAGES[endpoint], "prompt": "a fox", "model": "viduq9"}
    if not IMAGES[endpoint]:
        del needed["images"]
    return KINDS[endpoint](**{**needed, **values})


def said(request: Any) -> list[tuple[str, str]]:
    """Return the doubts about a request, as field and message."""
    return [(doubt.field, doubt.said) for doubt in request.doubts()]


def fields_of(request: Any) -> list[str]:
    """Return the fields in doubt."""
    return [doubt.field for doubt in request.doubts()]


def refused(endpoint: str, **values: Any) -> ValidationError:
    """Return the refusal of a request."""
    with pytest.raises(ValidationError) as found:
        build(endpoint, **values)
    return found.value


def verdict(endpoint: str, model: str, values: dict[str, Any]) -> str:
    """Return what became of a request."""
    try:
        request = build(endpoint, model=model, **values)
    except ValidationError as error:
        return "refused" if error.field in values else f"refused for {error.field}"
    return "doubted" if request.doubts() else "silent"


def expected(endpoint: str, model: str, values: dict[str, Any]) -> str:
    """Return what the tables say should become of it."""
    if not is_in(endpoint, model, values, elsewhere=True):
        return "refused"
    return "silent" if is_in(endpoint, model, values, elsewhere=False) else "doubted"


# The table

RESOLUTIONS = [None, "360p", "540p", "720p", "1080p", "2K", "4K", "2k", "8K", "720P", "wide"]


@every_row
def test_durations_and_resolutions_are_taken_exactly_as_the_tables_have_them(endpoint: str, model: str) -> None:
    """Every pair in and around them, given or left to the model."""
    seconds = [None] if endpoint == "reference2image" else [None, *range(19), 60]
    for duration, resolution in itertools.product(seconds, RESOLUTIONS):
        pairs = {"duration": duration, "resolution": resolution}
        values = {name: value for name, value in pairs.items() if value is not None}
        assert verdict(endpoint, model, values) == expected(endpoint, model, values), values


ratios = st.sampled_from(["16:9", "9:16", "1:1", "3:4", "4:3", "21:9", "2:3", "3:2", "auto", "16x9", "16:9 ", "0:1"])
numbers = st.integers(1, 9999)  # the simulator takes no longer ones
any_ratio = ratios | st.builds("{}:{}".format, numbers, numbers) | st.text("0123456789:x", min_size=1, max_size=5)


@given(
    row=st.sampled_from([row for row in ROWS if row[0] not in {"img2video", "start-end2video"}]),
    ratio=any_ratio,
    duration=st.none() | st.integers(0, 18),
)
def test_aspect_ratios_are_taken_exactly_as_the_tables_have_them(
    row: tuple[str, str], ratio: str, duration: int | None
) -> None:
    """Alone and with a duration; where a page says any, W:H of positive whole numbers and `auto`."""
    values: dict[str, Any] = {"aspect_ratio": ratio}
    if duration is not None and row[0] != "reference2image":
        values["duration"] = duration

    assert verdict(*row, values) == expected(*row, values)


# What a refusal says


def test_a_refused_duration_names_the_model_and_what_it_takes() -> None:
    """`allowed` holds numbers, for a program to choose from."""
    error = refused("img2video", model="viduq3-pro", duration=17)

    assert str(error) == "duration of viduq3-pro at img2video is 1 to 16, not 17"
    assert (error.field, error.value, error.allowed) == ("duration", 17, tuple(range(1, 17)))


@pytest.mark.parametrize(
    ("endpoint", "values", "message"),
    [
        ("img2video", {"model": "vidu2.0", "duration": 5}, "is 4 or 8, not 5"),
        ("img2video", {"model": "viduq1", "duration": 0}, "is 5, not 0"),
        ("img2video", {"model": "vidu2.0", "duration": 8, "resolution": "360p"}, "duration 8 is '720p', not '360p'"),
        ("img2video", {"model": "viduq3-pro-fast", "resolution": "540p"}, "img2video is '720p' or '1080p', not '540p'"),
        ("text2video", {"model": "viduq2", "resolution": "1080P"}, "not '1080P'. Did you mean '1080p'"),
        ("text2video", {"model": "viduq2", "aspect_ratio": "16x9"}, "or '4:3', not '16x9'. Did you mean '16:9'"),
        ("reference2video", {"model": "viduq2", "aspect_ratio": "16:9 "}, "not '16:9 '. Did you mean '16:9'"),
        (
            "reference2video",
            {"model": "viduq1", "aspect_ratio": "21:9"},
            "or '1:1' ('3:4' or '4:3' by another page), not '21:9'",
        ),
        ("text2video", {"style": "animee"}, "is 'general' or 'anime', not 'animee'. Did you mean 'anime'"),
        ("img2video", {"audio_type": "speech"}, "not 'speech'. Did you mean 'speech_only'"),
    ],
)
def test_a_refused_value_is_shown_beside_those_that_would_do(
    endpoint: str, values: dict[str, Any], message: str
) -> None:
    """And beside the one that was probably meant."""
    error = refused(endpoint, **values)

    assert message in str(error)
    assert values[error.field] == error.value


@pytest.mark.parametrize("duration", ["5", 5.0, 5])
def test_a_duration_may_be_given_as_digits_and_as_a_float(duration: Any) -> None:
    """What is sent is a whole number."""
    assert build("img2video", model="viduq1", duration=duration).duration == 5


# What only another page has: the values, and what the message says of them.
BOTH: list[tuple[str, dict[str, Any], str, set[object] | None]] = [
    (
        "start-end2video",
        {"model": "viduq2-pro", "duration": 11},
        "is 1 to 8 (9 or 10 by another page), not 11",
        {*range(1, 11)},
    ),
    (
        "reference2video",
        {"model": "viduq3-mix", "duration": 17},
        "is 3 to 16 (1 or 2 by another page), not 17",
        {*range(1, 17)},
    ),
    (
        "reference2image",
        {"model": "viduq2", "resolution": "8K"},
        "is '1080p', '2K' or '4K' ('2k' or '4k' by another page), not '8K'",
        {"1080p", "2K", "2k", "4K", "4k"},
    ),
    (
        "reference2video",
        {"model": "viduq3", "aspect_ratio": "16x9"},
        "or '1:1' ('auto' or W:H, such as '16:9' by another page), not '16x9'. Did you mean '16:9'?",
        None,
    ),
]


@pytest.mark.parametrize(("endpoint", "values", "message", "allowed"), BOTH)
def test_a_refusal_names_all_that_would_not_be_refused(
    endpoint: str, values: dict[str, Any], message: str, allowed: set[object] | None
) -> None:
    """Also what only warns; `allowed` is None where no list would hold it."""
    error = refused(endpoint, **values)

    assert str(error).endswith(message)
    assert (error.allowed and {*error.allowed}) == allowed


@pytest.mark.parametrize("value", ["16:10", "21:9", "wide", "1", "4"])
def test_nothing_is_guessed_where_nothing_is_close(value: str) -> None:
    """What there is stands in the message."""
    said_of_it = str(refused("text2video", model="viduq2", aspect_ratio=value))

    assert "Did you mean" not in said_of_it
    assert "'16:9', '9:16', '1:1', '3:4' or '4:3'" in said_of_it


def test_a_doubtful_duration_says_who_has_it() -> None:
    """The newest page's values are what `allowed` holds."""
    (doubt,) = build("start-end2video", model="viduq2-pro", duration=10).doubts()

    assert doubt.said == "duration of viduq2-pro at start-end2video is 1 to 8 on the newest page, only another has 10"
    assert doubt.allowed == tuple(range(1, 9))


# Models


def test_a_model_that_nobody_knows_passes_with_one_doubt() -> None:
    """Lists lag; what depends on the model is not checked, `allowed` has what is known."""
    request = build("text2video", model="viduq3-trubo", duration=60, resolution="8K", aspect_ratio="wide", audio=True)
    (doubt,) = request.doubts()

    assert doubt.said.startswith("model 'viduq3-trubo' is not known at text2video. Did you mean 'viduq3-turbo'")
    assert (doubt.field, doubt.value) == ("model", "viduq3-trubo")
    assert {"viduq3-turbo", "viduq1"} <= {*(doubt.allowed or ())}


def test_a_model_unlike_any_other_is_answered_with_all_there_are() -> None:
    """A guess would mislead."""
    (doubt,) = build("reference2image", model="sora").doubts()

    assert doubt.said == "model 'sora' is not known at reference2image; it has 'viduq2' or 'viduq1'"


@pytest.mark.parametrize("model", ["viduq4", "viduq", "q2", "VIDU"])
def test_a_model_is_not_guessed_from_a_version(model: str) -> None:
    """viduq4 is as near to viduq1 as to viduq2."""
    ((_, message),) = said(build("text2video", model=model))

    assert message.startswith(f"model {model!r} is not known at text2video; it has 'viduq3-turbo', ")


def test_a_model_of_other_endpoints_is_told_where_it_is() -> None:
    """It is no slip of the pen."""
    ((_, message),) = said(build("text2video", model="viduq2-pro"))

    assert message.startswith(
        "model 'viduq2-pro' is known at img2video, start-end2video, reference2video, but not at text2video; it has "
    )
    assert "Did you mean" not in message


def test_a_gateways_own_name_of_a_model_is_weighed_as_the_model() -> None:
    """Its row was not known when the request was built, so a value that would have been refused is a doubt."""
    request = build("text2video", model="turbo-hd", duration=17, resolution="540p", bgm=True)

    assert fields_of(request) == ["model"]
    found = [(doubt.field, doubt.said) for doubt in request.doubts(known_as="viduq3-turbo")]
    assert found == [
        ("duration", "duration of turbo-hd at text2video is 1 to 16, not 17"),
        ("bgm", "bgm has no effect with turbo-hd"),
    ]


@pytest.mark.parametrize("model", ["viduq9", "viduq2-pro", "vidu1.5"])
def test_a_model_that_the_gateway_offers_is_in_no_doubt(model: str) -> None:
    """It knows better than any page; what else is doubtful stays so."""
    request = build("text2video", model=model, duration=4, extra={"promt": 1})

    assert fields_of(request) == ["extra", "model"]
    assert [doubt.field for doubt in request.doubts(offered=True)] == ["extra"]


def test_a_subject_and_a_raw_request_have_no_model_to_be_offered() -> None:
    """Whoever weighs requests need not tell them apart."""
    subject = Subject(name="cat", extra={"image": 1})

    assert [doubt.field for doubt in subject.doubts(known_as="viduq2", offered=True)] == ["extra"]
    assert RawRequest("extend", {}).doubts(known_as="viduq2", offered=True) == ()


@pytest.mark.parametrize("endpoint", ["img2video", "start-end2video"])
def test_the_default_gateways_own_model_is_not_doubted(endpoint: str) -> None:
    """Its pages name viduq2 where others name its sisters."""
    assert said(build(endpoint, model="viduq2", duration=10)) == []


@pytest.mark.parametrize("model", ["viduq3-drama", "viduq3-ad", "vidu1.5"])
def test_a_model_that_only_another_source_has_is_doubted_and_its_values_checked(model: str) -> None:
    """It has a row of its own."""
    (doubt,) = build("reference2video", model=model).doubts()

    assert doubt.field == "model"
    assert {"viduq3", "viduq2-pro"} <= {*(doubt.allowed or ())}
    assert not {model, "viduq9"} & {*(doubt.allowed or ())}
    assert refused("reference2video", model=model, duration=16).field == "duration"


# Pictures, clips and subjects


@pytest.mark.parametrize(
    ("endpoint", "model", "counts"),
    [
        ("img2video", "viduq1", [1]),
        ("img2video", "viduq9", [1]),
        ("start-end2video", "viduq1", [2]),
        ("reference2video", "viduq2-pro", [1, 2, 3, 4, 5, 6, 7]),
        ("reference2video", "viduq9", [1, 2, 3, 4, 5, 6, 7]),
        ("reference2image", "viduq2", [0, 1, 2, 3, 4, 5, 6, 7]),
        ("reference2image", "viduq1", [0, 1, 2, 3, 4, 5, 6, 7]),
    ],
)
def test_so_many_pictures_are_taken_and_no_others(endpoint: str, model: str, counts: list[int]) -> None:
    """Of any model, known or not."""
    for count in range(9):
        if count in counts:
            assert len(build(endpoint, model=model, images=[LINK] * count).images) == count
        else:
            assert refused(endpoint, model=model, images=[LINK] * count).field in {"images", "subjects"}


def test_viduq1_without_pictures_is_doubted() -> None:
    """A documented example does it."""
    assert fields_of(build("reference2image", model="viduq1", images=[])) == ["images"]
    assert said(build("reference2image", model="viduq2", images=[])) == []
    assert said(build("reference2image", model="viduq1")) == []


@pytest.mark.parametrize(("images", "videos"), [(4, 1), (4, 2), (0, 1)])
def test_viduq2_pro_takes_up_to_two_clips_and_four_pictures_beside_them(images: int, videos: int) -> None:
    """It is the one model that does."""
    request = build("reference2video", model="viduq2-pro", images=[LINK] * images, videos=[CLIP] * videos)

    assert said(request) == []


@pytest.mark.parametrize(
    ("model", "images", "videos", "message"),
    [
        ("viduq2-pro", 5, 1, "images takes 0 to 4 beside videos, not 5"),
        ("viduq2-pro", 1, 3, "videos takes 0 to 2, not 3"),
        ("viduq9", 1, 3, "videos takes 0 to 2, not 3"),
        ("viduq2", 1, 1, "videos needs 'viduq2-pro', not 'viduq2'"),
        ("viduq3-drama", 0, 1, "videos needs 'viduq2-pro', not 'viduq3-drama'"),
    ],
)
def test_too_many_clips_and_clips_with_other_models_are_refused(
    model: str, images: int, videos: int, message: str
) -> None:
    """Unless nobody knows the model."""
    error = refused("reference2video", model=model, images=[LINK] * images, videos=[CLIP] * videos)

    assert str(error) == message
    assert build("reference2video", model="viduq9", images=[LINK] * 7, videos=[CLIP]).videos == (CLIP,)


STILL = Subject(name="cat", images=[LINK])
MOVING = Subject(name="dog", videos=[CLIP])
STORED = Subject(name="bird", server_id="1", images=[LINK])
STORED_MOVING = Subject(name="fish", server_id="2", videos=[CLIP])
ALONE = Subject(name="text")


def with_subjects(model: str, *subjects: Subject, **values: Any) -> Any:
    """Build a request of the subject form."""
    return build("reference2video", model=model, images=[], subjects=subjects, **values)


@pytest.mark.parametrize(
    ("model", "subjects"),
    [
        ("viduq2", [STILL] * 7),
        ("viduq3", [evolve(STILL, images=[LINK] * 3)] * 2),
        ("viduq3", [evolve(STILL, images=[LINK] * 3), *[STORED] * 6]),
        ("vidu2.0", [ALONE, STORED]),
        ("viduq2-pro", [*[STILL] * 4, MOVING]),
        ("viduq2-pro", [*[STORED] * 4, MOVING, STORED_MOVING]),
        ("viduq2-pro", [evolve(MOVING, images=[LINK] * 2)]),
        ("viduq2-pro", [STORED_MOVING] * 2),
    ],
)
def test_as_many_subjects_as_the_pages_allow_are_taken(model: str, subjects: list[Subject]) -> None:
    """The files of stored ones do not count: they are not sent."""
    assert said(with_subjects(model, *subjects)) == []


@pytest.mark.parametrize(
    ("model", "subjects", "field"),
    [
        ("viduq9", [ALONE] * 8, "subjects"),
        ("viduq9", [*[evolve(STILL, images=[LINK] * 3)] * 2, evolve(STILL, images=[LINK] * 2)], "subjects"),
        ("viduq2-pro", [STILL] * 8, "subjects"),
        ("viduq2", [STILL, MOVING], "subjects[1].videos"),
    ],
)
def test_too_many_subjects_and_clips_in_subjects_of_other_models_are_refused(
    model: str, subjects: list[Subject], field: str
) -> None:
    """Eight, or more than seven pictures in all. Values and what is allowed are counts, where it is about counts."""
    with pytest.raises(ValidationError) as found:
        with_subjects(model, *subjects)

    assert found.value.field == field
    assert found.value.allowed == (tuple(range(8)) if field == "subjects" else None)
    assert found.value.value == (8 if field == "subjects" else (CLIP,))


@pytest.mark.parametrize(
    ("subjects", "messages"),
    [
        ([STILL] * 5, ["0 to 4 without clips"]),
        ([*[STILL] * 5, MOVING], ["0 to 4 without clips"]),
        ([ALONE] * 7, ["0 to 4 without clips"]),
        ([MOVING] * 2, ["0 to 1 with clips that are not stored"]),
        ([STORED_MOVING] * 3, ["0 to 2 with clips"]),
    ],
)
def test_seven_subjects_of_any_kind_are_doubted_where_only_the_gateways_page_has_them(
    subjects: list[Subject], messages: list[str]
) -> None:
    """The newest page counts those with clips apart."""
    found = with_subjects("viduq2-pro", *subjects).doubts()

    place = "of viduq2-pro at reference2video on the newest page"
    assert [doubt.said.rpartition(", ")[0] for doubt in found] == [
        f"subjects takes {said} {place}" for said in messages
    ]
    assert all(doubt.value not in (doubt.allowed or ()) for doubt in found)


def test_a_search_for_subjects_is_doubted_where_no_page_has_it() -> None:
    """Beside pictures, and alone."""
    ((_, beside),) = said(build("reference2video", model="viduq2", auto_subjects=True))
    ((_, alone),) = said(with_subjects("viduq2", auto_subjects=True))

    assert beside == "auto_subjects is listed beside subjects only, not beside images and videos"
    assert alone == "auto_subjects is listed beside subjects only, and none are given"


def test_a_clip_leaves_a_temporary_subject_two_pictures() -> None:
    """They share three places by the newest page only; a stored subject's are not sent."""
    full = Subject(name="dog", images=[LINK] * 3, videos=[CLIP])

    assert said(full) == [("images", "images takes 0 to 2 beside a clip on the newest page, not 3")]
    assert fields_of(with_subjects("viduq2-pro", STILL, full)) == ["subjects[1].images"]
    assert said(evolve(full, images=[LINK] * 2)) == []
    assert said(evolve(full, server_id="1")) == []


def test_a_name_under_id_is_doubted() -> None:
    """Older pages have it so, and an example whose table has it otherwise."""
    older = Subject(name="cat", name_key="id")

    assert fields_of(older) == ["name_key"]
    assert fields_of(with_subjects("viduq2", older)) == ["subjects[0].name_key"]


@pytest.mark.parametrize(
    ("request_", "fields"),
    [
        (with_subjects("viduq3-mix", STILL), ["subjects"]),
        (with_subjects("vidu1.5", ALONE), ["model", "subjects"]),
        (with_subjects("viduq2", STORED_MOVING), ["subjects[0].videos"]),
        (with_subjects("viduq2", STILL, evolve(STILL, voice_id="v")), ["subjects[1].voice_id"]),
        (with_subjects("viduq2", evolve(STILL, voice_id="v"), audio=True), []),
        (with_subjects("viduq3", evolve(STILL, voice_id="v"), audio=True), ["subjects[0].voice_id"]),
        (with_subjects("viduq2-pro", evolve(STILL, voice_id="v"), audio=True), ["subjects[0].voice_id"]),
        (with_subjects("viduq9", evolve(STILL, voice_id="v")), ["model"]),
        (with_subjects("viduq2", evolve(STILL, extra={"image": 1})), ["subjects[0].extra"]),
        (with_subjects("viduq2", STILL, bgm=True), ["bgm"]),
        (with_subjects("viduq2", auto_subjects=True), ["auto_subjects"]),
        (with_subjects("viduq2", STILL, auto_subjects=True), []),
        (build("reference2video", model="viduq2", auto_subjects=True), ["auto_subjects"]),
        (build("reference2video", model="viduq2", auto_subjects=False), []),
    ],
)
def test_what_subjects_bring_along_is_doubted_at_its_place(request_: Any, fields: list[str]) -> None:
    """Where only some page has it, or where it has no effect."""
    assert fields_of(request_) == fields
    assert all(message.startswith(name) for name, message in said(request_))


# Effects

EFFECTS: list[tuple[str, dict[str, Any], list[str]]] = [
    ("img2video", {"model": "viduq1", "movement_amplitude": "large"}, []),
    ("img2video", {"model": "viduq2", "movement_amplitude": "auto"}, []),
    ("img2video", {"model": "viduq2", "movement_amplitude": "large"}, ["movement_amplitude"]),
    ("img2video", {"model": "viduq3-pro", "movement_amplitude": "small"}, ["movement_amplitude"]),
    ("img2video", {"model": "viduq1", "movement_amplitude": "standard"}, ["movement_amplitude"]),
    ("img2video", {"model": "viduq2", "movement_amplitude": "standard"}, ["movement_amplitude"]),
    ("img2video", {"movement_amplitude": "larg"}, ["model", "movement_amplitude"]),
    ("text2video", {"model": "viduq1", "style": "anime"}, []),
    ("text2video", {"model": "viduq2", "style": "general"}, []),
    ("text2video", {"model": "viduq2", "style": "anime"}, ["style"]),
    ("text2video", {"model": "viduq1", "bgm": True}, []),
    ("text2video", {"model": "viduq3-pro", "bgm": True}, ["bgm"]),
    ("text2video", {"model": "viduq3-pro", "bgm": True, "duration": 1}, ["bgm"]),
    ("text2video", {"model": "viduq3-pro", "bgm": False}, []),
    ("text2video", {"model": "viduq2", "bgm": True}, []),
    ("text2video", {"model": "viduq2", "bgm": True, "duration": 8}, []),
    ("text2video", {"model": "viduq2", "bgm": True, "duration": 9}, ["bgm"]),
    ("img2video", {"model": "viduq2-pro", "bgm": True, "duration": 9}, ["bgm"]),
    ("start-end2video", {"model": "viduq2", "bgm": True, "duration": 9}, []),
    ("start-end2video", {"model": "viduq2-pro", "bgm": True, "duration": 10}, ["duration"]),
    ("reference2video", {"model": "viduq2-pro", "bgm": True, "duration": 0}, []),
    ("text2video", {"model": "viduq2", "audio": True}, ["audio"]),
    ("text2video", {"model": "viduq2", "audio": False}, []),
    ("text2video", {"model": "viduq3-pro", "audio": True}, []),
    ("start-end2video", {"model": "vidu2.0", "audio": True}, ["audio"]),
    ("img2video", {"model": "vidu2.0", "audio": True}, []),
    ("reference2video", {"model": "viduq2", "audio": True}, ["audio"]),
    ("reference2video", {"model": "viduq3", "audio": True}, []),
    ("img2video", {"model": "viduq2", "audio": True, "audio_type": "all", "voice_id": "v"}, []),
    ("img2video", {"model": "viduq2", "audio_type": "all", "voice_id": "v"}, ["audio_type", "voice_id"]),
    ("img2video", {"model": "viduq2", "audio": False, "voice_id": "v"}, ["voice_id"]),
    ("img2video", {"model": "viduq3-pro", "audio": True, "voice_id": "v"}, ["voice_id"]),
    ("img2video", {"model": "viduq3-pro", "audio": True, "audio_type": "all"}, ["audio_type"]),
    ("img2video", {"model": "viduq2", "is_rec": True, "prompt": None}, []),
    ("img2video", {"model": "viduq2", "is_rec": False}, []),
    ("start-end2video", {"model": "viduq2", "is_rec": True}, ["is_rec"]),
    ("img2video", {"model": "viduq3-pro", "off_peak": True}, []),
    ("img2video", {"model": "viduq3-pro", "off_peak": True, "audio": False}, ["off_peak"]),
    ("img2video", {"model": "viduq3-pro-fast", "off_peak": True, "audio": False}, []),
    ("img2video", {"model": "viduq3-pro", "off_peak": False, "audio": False}, []),
    ("img2video", {"model": "viduq2-pro", "off_peak": True}, []),
    ("img2video", {"model": "viduq2-pro", "off_peak": True, "audio": True}, ["off_peak"]),
    ("start-end2video", {"model": "viduq1", "off_peak": True}, []),
    ("reference2video", {"model": "viduq3-mix", "off_peak": True}, ["off_peak"]),
    ("reference2video", {"model": "viduq9", "bgm": True, "audio": True, "audio_type": "all"}, ["model"]),
]


@pytest.mark.parametrize(("endpoint", "values", "fields"), EFFECTS)
def test_what_has_no_effect_is_doubted(endpoint: str, values: dict[str, Any], fields: list[str]) -> None:
    """In the order of the fields; an unknown model may do anything."""
    found = said(build(endpoint, **values))

    assert [name for name, _ in found] == fields
    assert all(message.startswith(name) for name, message in found)


# Texts


@pytest.mark.parametrize("endpoint", KINDS)
def test_a_prompt_of_two_thousand_characters_is_long_enough_for_every_page(endpoint: str) -> None:
    """Of a video, pages disagree about more, up to five thousand; of a picture, none has more."""
    most = 2000 if endpoint == "reference2image" else 5000

    assert "prompt" not in fields_of(build(endpoint, prompt="x" * 2000))
    assert refused(endpoint, prompt="x" * (most + 1)).said.endswith(
        f" up to {most} characters at {endpoint}, not {most + 1}"
    )
    for length in {2001, most} - {2000, most + 1}:
        assert "prompt" in fields_of(build(endpoint, prompt="x" * length))


def test_the_prompt_of_a_picture_is_doubted_where_some_count_it_longer() -> None:
    """As that of a video is."""
    assert fields_of(build("reference2image", model="viduq2", prompt="\N{FOX FACE}" * 1000)) == []
    assert fields_of(build("reference2image", model="viduq2", prompt="\N{FOX FACE}" * 1001)) == ["prompt"]


def test_emoji_count_once_but_a_prompt_that_some_count_longer_is_doubted() -> None:
    """A family is 7 code points and 11 UTF-16 units; pages do not say what a character is."""
    family = "\N{MAN}\u200d\N{WOMAN}\u200d\N{GIRL}\u200d\N{BOY}"
    assert fields_of(build("text2video", model="viduq2", prompt=family * 181)) == []
    (doubt,) = build("text2video", model="viduq2", prompt=family * 182).doubts()

    assert doubt.said.startswith("prompt has 1274 characters, but 2002 where an emoji counts as two")


@pytest.mark.parametrize("prompt", ["", " \n\t"])
@pytest.mark.parametrize("endpoint", ["text2video", "reference2video", "reference2image"])
def test_a_prompt_that_says_nothing_is_refused_where_one_is_required(endpoint: str, prompt: str) -> None:
    """Spaces say nothing."""
    assert refused(endpoint, prompt=prompt).field == "prompt"


@pytest.mark.parametrize("prompt", ["\ud800", "a\0b"])
def test_a_prompt_that_json_garbles_is_refused(prompt: str) -> None:
    """Half a surrogate pair, and NUL."""
    assert refused("text2video", prompt=prompt).field == "prompt"


@pytest.mark.parametrize("prompt", ["a\tb\x07", "\u202efox\u202c", "e\u0301", "狐狸"])
def test_any_other_text_goes_out_as_it_is(prompt: str) -> None:
    """Control characters and writing directions are the user's business."""
    assert build("text2video", model="viduq2", prompt=prompt).to_wire()["prompt"] == prompt


# https://platform.vidu.com/docs/callback-signature


@pytest.mark.parametrize("url", ["https://example.com", "HTTPS://example.com:8443/cb?a=1&b", "https://1.1.1.1/cb"])
def test_a_public_https_callback_is_taken(url: str) -> None:
    """Without a word."""
    assert said(build("text2video", model="viduq2", callback_url=url)) == []


@pytest.mark.parametrize(
    "url",
    [
        *("hello", "example.com/cb", "/cb", "ftp://example.com/", "https://", "https:///cb", "https://:80/cb"),
        *("https://example.com/cb#done", "https://example.com/cb#", "https://example.com/a b", "https://[::1/"),
        *("https://example.com:port/", "https://example.com:99999/", "https://example.com/\n", " https://example.com"),
    ],
)
def test_a_callback_that_cannot_arrive_is_refused(url: str) -> None:
    """No scheme of the web, no host, or a part that is never sent."""
    error = refused("text2video", callback_url=url)

    assert error.field == "callback_url"
    assert str(error).count(repr(url)) == 1


@pytest.mark.parametrize(
    "url",
    [
        *("http://example.com/cb", "https://me@example.com/", "https://me:secret@example.com/"),
        *("https://localhost/", "http://LOCALHOST.:8000/", "https://a.localhost/", "https://printer.local/"),
        *("https://127.0.0.1/", "https://10.0.0.1/", "https://192.168.1.5:8443/cb", "https://169.254.1.1/"),
        *(
            "https://[::1]/",
            "https://[fe80::1]/",
            "https://[fd00::1]/",
            "https://0.0.0.0/",
            "https://[::ffff:10.0.0.1]/",
        ),
        *("https://127.1/", "https://2130706433/", "https://0x7f000001/", "https://0177.0.0.1/", "https://10.0.0.0x1/"),
        *("https://224.0.0.1/", "https://[ff02::1]/", "https://intranet/cb", "https://example.com:0/"),
    ],
)
def test_a_callback_that_may_not_arrive_is_doubted(url: str) -> None:
    """Or that others can read. The password is not repeated."""
    ((field, message),) = said(build("text2video", model="viduq2", callback_url=url))

    assert field == "callback_url"
    assert "secret" not in message


# Extra fields


@pytest.mark.parametrize(
    ("endpoint", "extra", "meant"),
    [
        ("text2video", "promt", "prompt"),
        ("text2video", "Prompt", "prompt"),
        ("text2video", "aspect-ratio", "aspect_ratio"),
        ("text2video", "watermarks", "watermark"),
        ("img2video", "image", "images"),
        ("reference2video", "subject", "subjects"),
    ],
)
def test_a_slip_in_the_name_of_a_field_is_doubted(endpoint: str, extra: str, meant: str) -> None:
    """The row of a file would be paid for without it."""
    model = "viduq2"
    (doubt,) = build(endpoint, model=model, extra={extra: 1}).doubts()

    assert doubt.said == f"extra holds {extra!r}. Did you mean {meant!r}?"
    assert (doubt.field, doubt.value, doubt.allowed) == ("extra", extra, (meant,))


@pytest.mark.parametrize("extra", ["sounds", "client_request_id", "x", "last_frame"])
def test_other_undocumented_fields_are_not_doubted(extra: str) -> None:
    """They are what `extra` is for."""
    assert said(build("img2video", model="viduq2", extra={extra: 1})) == []


@pytest.mark.parametrize(
    ("endpoint", "extra"),
    [
        ("img2video", "aspect_ratio"),  # a documented example sends it
        ("start-end2video", "aspect_ratio"),
        ("img2video", "aspect-ratio"),
        ("img2video", "style"),
        ("text2video", "images"),
        ("text2video", "Images"),
        ("start-end2video", "voice_id"),
        ("reference2image", "duration"),
        ("reference2video", "endpoint"),
    ],
)
def test_a_field_of_other_endpoints_is_doubted(endpoint: str, extra: str) -> None:
    """The row of a file may stand under the wrong one."""
    (doubt,) = build(endpoint, model="viduq2", extra={extra: "x"}).doubts()

    assert doubt.said == f"extra holds {extra!r}, which {endpoint} does not take"
    assert (doubt.field, doubt.value) == ("extra", extra)
    assert "model" in (doubt.allowed or ())


def test_a_raw_request_is_never_doubted() -> None:
    """Nothing is known of it."""
    assert RawRequest("text2video", {"model": "viduq9", "promt": "a fox"}).doubts() == ()


def test_doubts_come_in_the_order_of_the_fields() -> None:
    """As they stand in the class."""
    given_last: dict[str, Any] = {"is_rec": True, "movement_amplitude": "x", "callback_url": "http://a.b"}
    request = build("img2video", **given_last, extra={"images_": 1})

    assert fields_of(request) == ["extra", "model", "callback_url", "movement_amplitude", "is_rec"]


def test_doubts_can_be_warned_of() -> None:
    """The category is the library's own."""
    (doubt,) = build("text2video").doubts()

    assert issubclass(ViduWarning, UserWarning)
    assert "ViduWarning" in vidu_async.__all__
    assert doubt.said == str(doubt)
    assert doubt.paid == "no"


# The default gateway's pages

PRINTED = {
    "img2video": ["extra", "movement_amplitude"],
    "start-end2video": [],
    "reference2image": ["images"],
    "reference2video": ["subjects[0].name_key"],
}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.endpoint)
def test_no_printed_request_is_refused(page: Any) -> None:
    """What it has that no table has is doubted."""
    assert fields_of(request_from_wire(page.endpoint, page.request)) == PRINTED[page.endpoint]


def test_a_printed_response_is_no_reason_for_doubt() -> None:
    """Only the request's own fields are taken from it."""
    assert said(StartEndToVideo.from_wire(START_END_TO_VIDEO.response)) == []


# Laws

MODELS = sorted({model for _, model in ROWS} | {"viduq9"})
flags = st.booleans()
pictures = st.lists(st.sampled_from([LINK, "https://example.com/den.jpg"]), max_size=8)
clips = st.lists(st.just(CLIP), max_size=3)
NAMED: dict[str, st.SearchStrategy[Any]] = {
    "seed": st.integers(0, 9),
    "payload": st.sampled_from(["mine", "✓"]),
    "callback_url": st.sampled_from(["https://example.com/cb", "http://example.com"]),
    "prompt": st.sampled_from(["a fox", "x" * 2000, "x" * 2001]),
    "duration": st.integers(0, 17),
    "resolution": st.sampled_from(["360p", "540p", "720p", "1080p", "2K", "4k"]),
    "movement_amplitude": st.sampled_from(["auto", "small", "standard", "vast"]),
    "wm_position": st.sampled_from([1, 4, "2", "top_left", "bottom_right"]),
    "wm_url": st.just(LINK),
    "meta_data": st.just('{"Label": "fox"}'),
    "style": st.sampled_from(["general", "anime"]),
    "aspect_ratio": any_ratio,
    "audio_type": st.sampled_from(["all", "speech_only"]),
    "voice_id": st.just("v1"),
    **dict.fromkeys(["bgm", "audio", "off_peak", "watermark", "is_rec", "auto_subjects"], flags),
}
VIDEO = (
    *("seed", "payload", "callback_url", "duration", "resolution", "movement_amplitude", "bgm", "audio", "off_peak"),
    *("watermark", "wm_position", "wm_url", "meta_data"),
)
OPTIONAL = {
    "text2video": [*VIDEO, "style", "aspect_ratio"],
    "img2video": [*VIDEO, "prompt", "audio_type", "voice_id", "is_rec"],
    "start-end2video": [*VIDEO, "prompt", "is_rec"],
    "reference2video": [*VIDEO, "auto_subjects", "aspect_ratio", "audio_type"],
    "reference2image": ["seed", "payload", "callback_url", "aspect_ratio", "resolution"],
}
subjects = st.lists(
    st.fixed_dictionaries(
        {"name": st.sampled_from(["cat", "dog"])},
        optional={"images": pictures, "videos": clips, "voice_id": st.just("v1"), "server_id": st.just("42")},
    ),
    max_size=8,
)


@st.composite
def bodies(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """Draw an endpoint and the JSON of a request, plausible or a little beside it."""
    endpoint = draw(st.sampled_from([*KINDS]))
    known = [model for where, model in ROWS if where == endpoint]
    body = {"model": draw(st.sampled_from(known) | st.sampled_from(MODELS)), "prompt": draw(NAMED["prompt"])}
    own = st.sampled_from(OPTIONAL[endpoint])
    names = draw(st.lists(own, max_size=4, unique=True) | st.lists(st.sampled_from([*NAMED]), max_size=2, unique=True))
    body |= {name: draw(NAMED[name]) for name in names}
    if IMAGES[endpoint]:
        body["images"] = draw(st.just([LINK] * IMAGES[endpoint]) | pictures)
    if endpoint == "reference2video" and draw(flags):
        body["subjects"] = draw(subjects)
        body["images"] = []
    elif endpoint == "reference2video":
        body["videos"] = draw(clips)
    return endpoint, {name: value for name, value in body.items() if value != []}


def built(drawn: tuple[str, dict[str, Any]]) -> Any:
    """Build a drawn request; None if it is refused."""
    try:
        return request_from_wire(*drawn)
    except ValidationError:
        return None


@settings(max_examples=400, deadline=None)
@given(drawn=bodies())
def test_what_is_not_doubted_is_accepted_by_the_simulator(drawn: tuple[str, dict[str, Any]]) -> None:
    """And so what the simulator refuses is refused or doubted."""
    request = built(drawn)
    if request is None or request.doubts():
        return
    body = json.loads(json.dumps(calls.create(Gateway.vidu(), request).body))
    try:
        order = read_order(request.endpoint, body)
    except Refusal as refusal:
        pytest.fail(f"{request!r}: {refusal}")
    assert order.model == request.model


@settings(max_examples=200, deadline=None)
@given(drawn=bodies(), extra=st.dictionaries(st.sampled_from(["sounds", "promt"]), st.integers(), max_size=1))
def test_a_request_comes_back_from_json_with_the_same_doubts(drawn: tuple[str, dict[str, Any]], extra: Any) -> None:
    """Whatever form its values were given in."""
    request = built((drawn[0], {**drawn[1], **extra}))
    if request is None:
        return
    back = type(request).from_wire(json.loads(json.dumps(request.to_wire())))

    assert back == request
    assert back.to_wire() == request.to_wire()
    assert said(back) == said(request)


def test_a_stream_of_requests_leaves_nothing_behind() -> None:
    """A generator of a million prompts costs the memory of one."""

    def stream(count: int) -> None:
        for number in range(count):
            build("text2video", model=f"viduq{number}", prompt=f"fox {number}" * 20).doubts()

    stream(50)  # whatever is made once
    tracemalloc.start()
    try:
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        stream(1000)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert after - before < 20_000
