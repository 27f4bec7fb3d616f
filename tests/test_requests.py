"""Requests: what they take, what they send, and what they refuse before anything is sent."""

from __future__ import annotations

import inspect
import json
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve, fields
from attrs.exceptions import FrozenInstanceError
from hypothesis import given
from hypothesis import strategies as st

from vidu_async import (
    ImageToVideo,
    RawRequest,
    ReferenceToImage,
    ReferenceToVideo,
    StartEndToVideo,
    Subject,
    TextToVideo,
    ValidationError,
    WatermarkPosition,
    request_from_wire,
)
from vidu_async.media import encoded

LINK = "https://example.com/fox.png"
END = "https://example.com/den.png"
CLIP = "https://example.com/fox.mp4"
PNG = b"\x89PNG\r\n\x1a\n"
META = '{"Label": "fox"}'
CAT = Subject(name="cat", images=[LINK], voice_id="v1")

# Every field of each endpoint, with a value as it is given and as it is sent.
# https://platform.vidu.com/docs/image-to-video and its neighbours.
TASK: dict[str, Any] = {"model": "viduq3-turbo", "seed": 7, "payload": "p-1", "callback_url": "https://example.com/cb"}
VIDEO: dict[str, Any] = {
    **TASK,
    "duration": 5,
    "resolution": "720p",
    "movement_amplitude": "auto",
    "bgm": True,
    "audio": False,
    "off_peak": True,
    "watermark": False,
    "wm_position": 4,
    "wm_url": "https://example.com/mark.png",
    "meta_data": META,
}
SENT: dict[Any, dict[str, Any]] = {
    ImageToVideo: {
        **VIDEO,
        "images": [LINK],
        "prompt": "the fox runs",
        "audio_type": "all",
        "voice_id": "v1",
        "is_rec": False,
    },
    StartEndToVideo: {**VIDEO, "images": [LINK, END], "prompt": "the fox goes home", "is_rec": True},
    ReferenceToVideo: {
        **VIDEO,
        "model": "viduq2-pro",
        "prompt": "a fox",
        "images": [LINK],
        "videos": [CLIP],
        "auto_subjects": False,
        "aspect_ratio": "16:9",
        "audio_type": "speech_only",
    },
    ReferenceToImage: {
        **TASK,
        "prompt": "a fox",
        "images": [LINK, END],
        "aspect_ratio": "auto",
        "resolution": "2K",
    },
    TextToVideo: {**VIDEO, "prompt": "a fox", "style": "anime", "aspect_ratio": "9:16"},
}
ENDPOINTS = {
    ImageToVideo: "img2video",
    StartEndToVideo: "start-end2video",
    ReferenceToVideo: "reference2video",
    ReferenceToImage: "reference2image",
    TextToVideo: "text2video",
}
FLAGS = [(kind, name) for kind, sent in SENT.items() for name, value in sent.items() if isinstance(value, bool)]
NEEDED: dict[Any, dict[str, Any]] = {
    ImageToVideo: {"model": "m", "images": [LINK]},
    StartEndToVideo: {"model": "m", "images": [LINK, END]},
    ReferenceToVideo: {"model": "m", "prompt": "a fox", "images": [LINK]},
    ReferenceToImage: {"model": "m", "prompt": "a fox"},
    TextToVideo: {"model": "m", "prompt": "a fox"},
}


class Model(str, Enum):  # noqa: UP042 - one that many a program has
    """A table of models, as a user's program may have one."""

    Q2 = "viduq2"


class Missing:
    """What tables have for a missing value: neither true nor false, and equal to nothing, not even to itself."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        raise TypeError("the truth of a missing value is ambiguous")

    def __bool__(self) -> bool:
        raise TypeError("the truth of a missing value is ambiguous")


class Whole:
    """A whole number of another library."""

    def __index__(self) -> int:
        return 3


every_class = pytest.mark.parametrize("kind", list(SENT), ids=ENDPOINTS.get)


def text_to_video(**given_too: Any) -> TextToVideo:
    """Return a request with nothing but what is needed, and what is given."""
    return TextToVideo(**{"model": "viduq2", "prompt": "a fox", **given_too})


# What is sent


@every_class
def test_every_documented_field_is_a_keyword_and_goes_out_as_it_is(kind: Any) -> None:
    """Booleans as booleans, numbers as numbers, in the words of the API."""
    sent = kind(**SENT[kind]).to_wire()

    assert sent == SENT[kind]
    assert {name: type(value) for name, value in sent.items()} == {
        name: type(value) for name, value in SENT[kind].items()
    }


@every_class
def test_there_are_no_fields_besides_the_documented_ones(kind: Any) -> None:
    """The API refuses fields an endpoint does not take: FieldUnwanted."""
    subjects = {"subjects"} if kind is ReferenceToVideo else set()

    assert {attribute.name for attribute in fields(kind)} == {*SENT[kind], "extra", *subjects}


@every_class
def test_what_was_not_given_is_not_sent(kind: Any) -> None:
    """Vidu fills in its own defaults, by model; ours would get in their way."""
    assert kind(**NEEDED[kind]).to_wire() == NEEDED[kind]


@every_class
def test_none_and_empty_values_are_not_sent(kind: Any) -> None:
    """An empty text is how answers say none, so it is no value of a request either."""
    optional = {name: "" if isinstance(value, str) else None for name, value in SENT[kind].items()}

    assert kind(**{**optional, **NEEDED[kind]}, extra={"a": None, "b": "", "c": []}).to_wire() == NEEDED[kind]


def test_false_and_zero_are_values_and_are_sent() -> None:
    """A duration of 0 means automatic where a model has it."""
    given_too: dict[str, Any] = {"off_peak": False, "seed": 0, "duration": 0}
    needed = {**NEEDED[ReferenceToVideo], "model": "viduq2-pro"}

    assert ReferenceToVideo(**needed, **given_too).to_wire() == {**needed, **given_too}


@every_class
def test_each_request_knows_its_endpoint(kind: Any) -> None:
    """The word is the one of the URL."""
    assert kind(**NEEDED[kind]).endpoint == ENDPOINTS[kind]


def test_the_subject_form_sends_each_subject_with_its_fields() -> None:
    """A temporary one with its files, a stored one with its id."""
    clip = Subject(name="dog", videos=[CLIP])
    stored = Subject(name="bird", server_id="42", extra={"style": "flat"})
    request = ReferenceToVideo(model="viduq2-pro", prompt="@cat @dog @bird", subjects=[CAT, clip, stored])

    assert request.to_wire()["subjects"] == [
        {"name": "cat", "images": [LINK], "voice_id": "v1"},
        {"name": "dog", "videos": [CLIP]},
        {"name": "bird", "server_id": "42", "style": "flat"},
    ]


def test_a_subjects_name_goes_out_under_id_where_a_gateway_wants_it() -> None:
    """Older pages call it so."""
    assert Subject(name="cat", name_key="id").to_wire() == {"id": "cat"}


def test_subjects_may_be_given_as_json() -> None:
    """As the rows of a file hold them."""
    given_as_json: Any = [CAT.to_wire()]

    assert ReferenceToVideo(model="viduq2", prompt="@cat", subjects=given_as_json).subjects == (CAT,)


def test_subjects_may_come_from_a_generator() -> None:
    """It is read once, as one of pictures is."""
    stream: Any = (evolve(CAT, name=name) for name in ("cat", "dog"))
    request = ReferenceToVideo(model="viduq2", prompt="@cat @dog", subjects=stream)

    assert [subject.name for subject in request.subjects] == ["cat", "dog"]


def test_a_member_of_an_enum_is_its_text() -> None:
    """On the wire, in the table and in messages; `str` would make "Model.Q2" of it."""
    request = text_to_video(model=Model.Q2, prompt=Model.Q2, extra={Model.Q2: 1})

    assert {type(value) for value in (request.model, request.prompt, *request.extra)} == {str}
    assert request.to_wire() == {"model": "viduq2", "prompt": "viduq2", "viduq2": 1}
    assert request.doubts() == ()
    with pytest.raises(ValidationError, match="duration of viduq2 at text2video"):
        text_to_video(model=Model.Q2, duration=99)


def test_undocumented_fields_travel_in_extra() -> None:
    """New fields of the API do not wait for a new version of the library."""
    assert text_to_video(extra={"sounds": ["https://example.com/a.mp3"]}).to_wire()["sounds"] == [
        "https://example.com/a.mp3"
    ]


@pytest.mark.parametrize("place", [3, "3", "bottom_right", "BOTTOM_RIGHT", WatermarkPosition.BOTTOM_RIGHT, Whole()])
def test_a_watermarks_place_is_taken_by_number_and_by_name(place: Any) -> None:
    """The pages disagree on which it is; the number is what is sent."""
    sent = text_to_video(wm_position=place).to_wire()["wm_position"]

    assert (sent, type(sent)) == (3, int)


@pytest.mark.parametrize(("seed", "sent"), [("12", 12), (" 12.0", 12), (5.0, 5), (Whole(), 3), (2**63 - 1, 2**63 - 1)])
def test_a_whole_number_is_taken_as_digits_and_of_any_type(seed: Any, sent: int) -> None:
    """Several pages call the seed a string."""
    request = text_to_video(seed=seed, duration=5.0)

    assert request.to_wire()["seed"] == sent
    assert json.dumps(request.to_wire()["duration"]) == "5"


@given(payload=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1))
def test_a_payload_goes_out_byte_for_byte(payload: str) -> None:
    """It is the user's own, and comes back to them."""
    body = encoded(text_to_video(payload=payload).to_wire(), str)

    assert json.loads(body)["payload"] == payload
    assert json.dumps(payload, ensure_ascii=False).encode() in body


def test_models_that_nobody_documented_pass_with_their_values() -> None:
    """Lists lag behind the API."""
    given_new: dict[str, Any] = {"model": "viduq9-ultra", "resolution": "8K", "aspect_ratio": "21:9", "duration": 60}

    assert TextToVideo(prompt="a fox", **given_new).to_wire() == {"prompt": "a fox", **given_new}


def test_media_are_kept_as_given_until_they_are_sent() -> None:
    """A path, bytes and a link; a generator is read once."""
    files: list[Any] = [LINK, Path("fox.png"), PNG, bytearray(PNG), "den.png"]
    request = ReferenceToImage(model="viduq2", prompt="a fox", images=tuple(iter(files)))

    assert request.to_wire()["images"] == [LINK, Path("fox.png"), PNG, PNG, "den.png"]


def test_a_request_does_not_change_with_the_list_it_was_made_from() -> None:
    """It is a value."""
    images = [LINK]
    request = ImageToVideo(model="viduq2", images=images)
    images.append(END)

    assert request.to_wire()["images"] == [LINK]


def test_a_request_cannot_be_changed() -> None:
    """What was checked is what is sent."""
    request: Any = text_to_video()

    with pytest.raises(FrozenInstanceError):
        request.seed = "not checked"


@every_class
def test_keywords_only(kind: Any) -> None:
    """Positions would freeze the order of the fields for ever."""
    assert {parameter.kind for parameter in inspect.signature(kind).parameters.values()} == {
        inspect.Parameter.KEYWORD_ONLY
    }


def test_image_to_video_has_no_aspect_ratio() -> None:
    """It is that of the picture."""
    ratio: dict[str, Any] = {"aspect_ratio": "16:9"}

    with pytest.raises(TypeError, match="aspect_ratio"):
        ImageToVideo(model="viduq2", images=[LINK], **ratio)


# What is refused


@pytest.mark.parametrize(
    "value",
    ["true", "false", 1, 0, "yes", 10**5000],
    ids=lambda value: str(value % 7) if isinstance(value, int) else value,
)
@pytest.mark.parametrize(("kind", "name"), FLAGS, ids=lambda value: ENDPOINTS.get(value, value))
def test_a_boolean_is_refused_in_any_other_type(kind: Any, name: str, value: object) -> None:
    """`"false"` would be sent as a text, and text is true."""
    with pytest.raises(ValidationError, match="True or False") as refused:
        kind(**{**NEEDED[kind], name: value})

    assert (refused.value.field, refused.value.value, refused.value.allowed) == (name, value, (True, False))


@pytest.mark.parametrize(
    "value",
    [
        True,
        1.5,
        float("nan"),
        float("inf"),
        -1,
        2**63,
        "1.5",
        "abc",
        "-1",
        "1.05",
        [1],
        b"1",
        "9" * 5000,
        10**5000,
        Missing(),
    ],
    ids=lambda value: (
        f"{type(value).__name__} of {value.bit_length()} bits" if isinstance(value, int) else str(value)[:12]
    ),
)
@pytest.mark.parametrize("name", ["seed", "duration"])
def test_a_number_is_refused_unless_it_is_whole_and_fits(name: str, value: object) -> None:
    """JSON libraries send NaN in ways no server reads."""
    with pytest.raises(ValidationError) as refused:
        text_to_video(**{name: value})

    assert refused.value.field == name


@pytest.mark.parametrize("value", [5, True, b"text", ["text"], "a\0b", "half \ud800 pair", Missing()])
@pytest.mark.parametrize("name", ["model", "prompt", "payload", "style", "resolution", "callback_url", "meta_data"])
def test_a_text_is_refused_unless_json_carries_it(name: str, value: object) -> None:
    """Half a surrogate pair becomes something else on the way."""
    with pytest.raises(ValidationError) as refused:
        text_to_video(**{name: value})

    assert refused.value.field == name


@pytest.mark.parametrize("value", [0, 5, -1, True, 1.5, "middle", "unspecified", [], 10**5000, Missing()], ids=type)
def test_a_watermarks_place_is_refused_if_there_is_none_such(value: object) -> None:
    """The message and `allowed` say which there are."""
    with pytest.raises(ValidationError, match="top_left") as refused:
        text_to_video(wm_position=value)

    assert {1, 2, 3, 4, "bottom_left"} <= {*(refused.value.allowed or ())}


@pytest.mark.parametrize("value", ["fox.png", PNG, bytearray(PNG), Path("fox.png"), {"url": LINK}, 5])
def test_a_single_picture_where_a_list_belongs_is_refused(value: object) -> None:
    """A string is a sequence too, of letters."""
    taken: Any = value

    with pytest.raises(ValidationError, match=r"images=\[") as refused:
        ImageToVideo(model="viduq2", images=taken)

    assert refused.value.field == "images"


@pytest.mark.parametrize("value", [None, 5, "", b"", {"url": LINK}, [LINK]])
def test_what_is_no_picture_is_refused_with_its_place(value: object) -> None:
    """`images[1]` says which one."""
    taken: Any = [LINK, value]

    with pytest.raises(ValidationError) as refused:
        StartEndToVideo(model="viduq2", images=taken)

    assert refused.value.field == "images[1]"


@pytest.mark.parametrize("link", ["https://h.co/\0", "http://h.co/a\n", "https://h.co/\ud800", "ssupload:?id=1\t"])
def test_a_link_that_is_garbled_on_the_way_is_refused_with_the_place(link: str) -> None:
    """Line ends come from files that were read line by line."""
    with pytest.raises(ValidationError, match=r"^images\[0\] holds '.+' at character \d+") as refused:
        ImageToVideo(model="viduq2", images=[link])

    assert (refused.value.field, refused.value.value) == ("images[0]", link)


@pytest.mark.parametrize("item", ["caf\udce9.png", "a\nb.png", "data:image/png;base64,AA\nAA"])
def test_paths_and_wrapped_base64_may_hold_what_links_may_not(item: str) -> None:
    """Names of files are bytes, some of which Python shows as half a pair."""
    assert ImageToVideo(model="viduq2", images=[item]).to_wire()["images"] == [item]


@pytest.mark.parametrize(
    ("kind", "name", "count"),
    [
        (ImageToVideo, "images", 0),
        (ImageToVideo, "images", 2),
        (StartEndToVideo, "images", 1),
        (StartEndToVideo, "images", 3),
        (ReferenceToVideo, "images", 8),
        (ReferenceToVideo, "videos", 3),
        (ReferenceToImage, "images", 8),
    ],
)
def test_too_few_and_too_many_files_are_refused(kind: Any, name: str, count: int) -> None:
    """The rule stands in the message."""
    with pytest.raises(ValidationError, match=f"not {count}$") as refused:
        kind(**{**NEEDED[kind], name: [LINK] * count})

    assert (refused.value.field, refused.value.value) == (name, count)
    assert count not in (refused.value.allowed or (count,))


def test_eight_subjects_are_refused() -> None:
    """Seven is what the API takes."""
    assert len(ReferenceToVideo(model="m", prompt="p", subjects=[CAT] * 7).subjects) == 7
    with pytest.raises(ValidationError, match="0 to 7"):
        ReferenceToVideo(model="m", prompt="p", subjects=[CAT] * 8)


@pytest.mark.parametrize("files", [{"images": [LINK] * 4}, {"videos": [CLIP] * 2}])
def test_a_subject_with_too_many_files_is_refused(files: dict[str, Any]) -> None:
    """Three pictures, or one clip."""
    with pytest.raises(ValidationError):
        Subject(name="cat", **files)


@pytest.mark.parametrize("files", [{"images": [LINK]}, {"videos": [CLIP]}])
def test_subjects_and_files_together_are_refused(files: dict[str, Any]) -> None:
    """The endpoint has two forms, and no mixture of them."""
    with pytest.raises(ValidationError, match="never both"):
        ReferenceToVideo(model="viduq2", prompt="@cat", subjects=[CAT], **files)


def test_a_reference_video_without_any_reference_is_refused() -> None:
    """Unless Vidu is to find the subjects itself."""
    with pytest.raises(ValidationError, match="required"):
        ReferenceToVideo(model="viduq2", prompt="a fox")
    assert ReferenceToVideo(model="viduq2", prompt="a fox", auto_subjects=True).to_wire()["auto_subjects"] is True


@pytest.mark.parametrize(
    ("subject", "message"),
    [
        ({"name": ""}, "subjects[1].name is required, not ''"),
        ({"nmae": "dog"}, "subjects[1].name is required. Did you mean 'name' where it says 'nmae'?"),
        ({"name": "dog", "images": [LINK] * 4}, "subjects[1].images takes 0 to 3, not 4"),
        (
            {"name": "dog", "images": [LINK, None]},
            "subjects[1].images[1] must be a URL, a path, bytes, a file, a Pillow picture or a numpy array, not None",
        ),
        ({"name": "dog", "voice_id": 5}, "subjects[1].voice_id must be text, not 5"),
    ],
)
def test_what_is_wrong_with_a_subject_is_told_with_its_place(subject: dict[str, Any], message: str) -> None:
    """There may be seven of them in a row of a file."""
    row = {"model": "viduq2", "prompt": "@cat", "subjects": [{"name": "cat"}, subject]}
    with pytest.raises(ValidationError) as refused:
        request_from_wire("reference2video", row)

    assert str(refused.value) == message
    assert refused.value.field == message.partition(" ")[0]


@pytest.mark.parametrize("extra", [{"id": "42"}, {"name": "dog"}])
@pytest.mark.parametrize("key", ["name", "id"])
def test_a_subject_has_one_name(extra: dict[str, Any], key: str) -> None:
    """With two, one would go out over the other where a gateway wants the name under `id`."""
    with pytest.raises(ValidationError, match=f"^extra holds '{next(iter(extra))}'") as refused:
        Subject(name="cat", name_key=key, extra=extra)

    assert refused.value.field == "extra"


@pytest.mark.parametrize("subjects", ["cat", [LINK], [None], {"name": "cat"}, 5])
def test_what_is_no_subject_is_refused(subjects: Any) -> None:
    """A list of `Subject`, or of their JSON."""
    with pytest.raises(ValidationError):
        ReferenceToVideo(model="viduq2", prompt="@cat", subjects=subjects)


def test_a_subjects_name_key_is_one_of_two() -> None:
    """The two that pages print."""
    with pytest.raises(ValidationError) as refused:
        Subject(name="cat", name_key="title")

    assert refused.value.allowed == ("name", "id")


@pytest.mark.parametrize("blank", ["", " \n", None])
@pytest.mark.parametrize("name", ["model", "prompt"])
def test_what_is_required_must_say_something(name: str, blank: Any) -> None:
    """Spaces are no prompt."""
    with pytest.raises(ValidationError, match="is required"):
        text_to_video(**{name: blank})


@pytest.mark.parametrize("kind", [ImageToVideo, StartEndToVideo])
def test_the_prompt_is_optional_where_a_picture_says_enough(kind: Any) -> None:
    """Official pages say so, resellers' do not."""
    assert "prompt" not in kind(**NEEDED[kind]).to_wire()


def test_a_payload_over_a_mebicharacter_is_refused() -> None:
    """Vidu's limit, in characters."""
    assert len(text_to_video(payload="ü" * 1_048_576).payload or "") == 1_048_576
    with pytest.raises(ValidationError) as refused:
        text_to_video(payload="ü" * 1_048_577)
    assert len(str(refused.value)) < 200


def test_metadata_that_is_no_json_text_is_refused_with_the_position() -> None:
    """It is passed through as text that others parse."""
    with pytest.raises(ValidationError, match="column 11") as refused:
        text_to_video(meta_data='{"Label": "')

    assert refused.value.field == "meta_data"


@pytest.mark.parametrize("text", ['{"a": NaN}', "[Infinity]", "-Infinity"])
def test_metadata_that_only_python_reads_is_refused(text: str) -> None:
    """They are words of other languages, not of JSON."""
    with pytest.raises(ValidationError, match="is no JSON"):
        text_to_video(meta_data=text)


def test_metadata_may_hold_any_number_that_json_does() -> None:
    """Python's own limit of digits is nothing to Vidu."""
    assert text_to_video(meta_data=f'{{"a": {"9" * 5000}}}').meta_data


def test_metadata_as_a_mapping_is_told_how_to_become_text() -> None:
    """It is the most likely thing to pass."""
    with pytest.raises(ValidationError, match=r"json\.dumps\(\.\.\.\).*not \{'Label': 'fox'\}"):
        text_to_video(meta_data={"Label": "fox"})


def test_an_extra_field_with_a_keyword_of_its_own_is_told_where_it_belongs() -> None:
    """With its value."""
    with pytest.raises(ValidationError) as refused:
        text_to_video(extra={"duration": 5})

    assert str(refused.value) == "extra holds 'duration', which has a keyword of its own: pass duration=5"


def test_extra_fields_that_make_a_request_look_like_an_answer_are_refused() -> None:
    """Read back from JSON, it would lose them; one of the two alone comes back."""
    with pytest.raises(ValidationError, match="only an answer has"):
        text_to_video(extra={"task_id": "1", "state": "created"})
    request = text_to_video(extra={"state": "created"})
    assert TextToVideo.from_wire(request.to_wire()) == request


def test_the_name_of_an_extra_field_is_text() -> None:
    """As text, 1 and "1" would be one field."""
    names: Any = {1: "a", "1": "b"}
    with pytest.raises(ValidationError, match="extra holds 1, which is no text"):
        text_to_video(extra=names)


@pytest.mark.parametrize("extra", [{"seed": 1}, {"extra": {}, "prompt": "b"}, "text", [("a", 1)], 5])
def test_extra_holds_a_mapping_of_other_fields_only(extra: Any) -> None:
    """A field with a keyword of its own has one place."""
    with pytest.raises(ValidationError) as refused:
        text_to_video(extra=extra)

    assert refused.value.field == "extra"


def test_a_refusal_is_a_value_error() -> None:
    """So that code which knows nothing of this library can catch it."""
    with pytest.raises(ValueError, match="is required"):
        text_to_video(prompt="")


# From JSON


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("true", True),
        ("false", False),
        ("True", True),
        ("FALSE", False),
        (1, True),
        (0, False),
        ("1", True),
        (True, True),
    ],
)
@pytest.mark.parametrize(("kind", "name"), FLAGS, ids=lambda value: ENDPOINTS.get(value, value))
def test_from_wire_converts_booleans(kind: Any, name: str, word: object, value: bool) -> None:
    """Several gateways' pages document them as strings."""
    assert kind.from_wire({**NEEDED[kind], name: word}).to_wire()[name] is value


@every_class
def test_from_wire_converts_numbers(kind: Any) -> None:
    """As it does booleans."""
    assert kind.from_wire({**NEEDED[kind], "seed": "12"}).to_wire()["seed"] == 12


@every_class
def test_from_wire_takes_an_empty_cell_for_a_value_not_given(kind: Any) -> None:
    """A table has a cell in every row, whatever type belongs there."""
    cells = {name: "" for name, value in SENT[kind].items() if not isinstance(value, list)}

    assert kind.from_wire({**cells, **NEEDED[kind]}).to_wire() == NEEDED[kind]


@every_class
def test_from_wire_takes_null_for_a_value_not_given(kind: Any) -> None:
    """In every field that may be left out."""
    assert kind.from_wire({**dict.fromkeys([*SENT[kind], "subjects"]), **NEEDED[kind]}).to_wire() == NEEDED[kind]


@pytest.mark.parametrize("extra", [None, {}, "", [], {"sounds": [1]}])
def test_from_wire_takes_extra_fields_under_their_own_heading_too(extra: Any) -> None:
    """As the rows of a file may hold them; null and an empty cell are none."""
    request = TextToVideo.from_wire({**NEEDED[TextToVideo], "extra": extra, "style": ""})

    assert request.to_wire() == {**NEEDED[TextToVideo], **(extra or {})}


@pytest.mark.parametrize("extra", ["text", 5, [1], Missing()], ids=type)
def test_from_wire_refuses_extra_fields_that_are_none(extra: Any) -> None:
    """With the field's name, as the constructor would."""
    with pytest.raises(ValidationError) as refused:
        TextToVideo.from_wire({**NEEDED[TextToVideo], "extra": extra})

    assert refused.value.field == "extra"


@every_class
def test_from_wire_keeps_unknown_fields_in_extra(kind: Any) -> None:
    """What the JSON holds is what is sent."""
    assert kind.from_wire({**SENT[kind], "sounds": [1]}).extra == {"sounds": [1]}


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (kind, name)
        for kind, needed in NEEDED.items()
        for name in needed
        if (kind, name) != (ReferenceToVideo, "images")
    ],
    ids=lambda value: ENDPOINTS.get(value, value),
)
def test_from_wire_refuses_a_mapping_that_lacks_what_is_required(kind: Any, name: str) -> None:
    """With the field's name, as the constructor would."""
    with pytest.raises(ValidationError) as refused:
        kind.from_wire({key: value for key, value in NEEDED[kind].items() if key != name})

    assert refused.value.field == name


@pytest.mark.parametrize(
    ("kind", "row", "message"),
    [
        (
            TextToVideo,
            {"model": "m", "promt": "a fox"},
            "prompt is required. Did you mean 'prompt' where it says 'promt'?",
        ),
        (
            ImageToVideo,
            {"model": "m", "image": [LINK]},
            "images is required. Did you mean 'images' where it says 'image'?",
        ),
        (
            ImageToVideo,
            {"Model": "m", "images": [LINK]},
            "model is required. Did you mean 'model' where it says 'Model'?",
        ),
        (
            TextToVideo,
            {"model": "m", "extra": {"promt": "a"}},
            "prompt is required. Did you mean 'prompt' where it says 'promt'?",
        ),
        (TextToVideo, {"model": "m", "x": "a fox", 1: 2}, "prompt is required"),
    ],
)
def test_from_wire_guesses_which_name_was_meant_for_what_is_missing(
    kind: Any, row: dict[str, Any], message: str
) -> None:
    """A slip in a required name is the likeliest reason."""
    with pytest.raises(ValidationError) as refused:
        kind.from_wire(row)

    assert str(refused.value) == message


@pytest.mark.parametrize("mapping", [None, [1], "text", 5, Missing()], ids=type)
@pytest.mark.parametrize("kind", [*SENT, Subject])
def test_from_wire_refuses_what_is_no_object(kind: Any, mapping: Any) -> None:
    """As a row of a file may be none."""
    with pytest.raises(ValidationError, match=f"^{kind.__name__} must be a JSON object"):
        kind.from_wire(mapping)


@pytest.mark.parametrize("value", [10**5000, Missing(), 2, 1.0, [True]], ids=type)
def test_from_wire_refuses_a_boolean_that_is_none(value: object) -> None:
    """Whatever it can be compared with."""
    with pytest.raises(ValidationError, match="audio must be True or False"):
        TextToVideo.from_wire({**NEEDED[TextToVideo], "audio": value})


@pytest.mark.parametrize("place", [0, "0", "", "unspecified", "centre", None, [1], 7])
def test_from_wire_of_an_answer_leaves_out_a_watermarks_place_that_is_none(place: Any) -> None:
    """Answers have a word for none, and gateways others; in a request it would be a mistake."""
    answer = {**NEEDED[TextToVideo], "task_id": "1", "state": "created", "duration": "5.0", "wm_position": place}

    assert TextToVideo.from_wire(answer).to_wire() == {**NEEDED[TextToVideo], "duration": 5}
    assert TextToVideo.from_wire({**answer, "wm_position": "top_right"}).wm_position == WatermarkPosition.TOP_RIGHT


def test_from_wire_of_an_answer_takes_only_what_was_asked_for() -> None:
    """An answer's own fields are nothing to ask for, known or not."""
    answer = {
        "task_id": "1",
        "state": "created",
        "style": "general",
        "credits": 4,
        "cus_priority": 0,
        **SENT[ImageToVideo],
    }

    assert ImageToVideo.from_wire(answer).to_wire() == SENT[ImageToVideo]


@every_class
def test_request_from_wire_finds_the_class_of_an_endpoint(kind: Any) -> None:
    """For rows of files that name their endpoint."""
    assert request_from_wire(ENDPOINTS[kind], SENT[kind]) == kind(**SENT[kind])


@pytest.mark.parametrize(
    ("endpoint", "hint"),
    [
        *[("img2vide", "'img2video'"), ("start-end", "'start-end2video'"), ("image", "RawRequest"), ("", "RawRequest")],
        *[(None, "RawRequest"), (["img2video"], "RawRequest"), (10**5000, "RawRequest")],
    ],
    ids=range(7),
)
def test_request_from_wire_names_the_endpoints_there_are(endpoint: Any, hint: str) -> None:
    """And guesses what was meant."""
    with pytest.raises(ValidationError, match=hint) as refused:
        request_from_wire(endpoint, {})

    assert {*(refused.value.allowed or ())} == {*ENDPOINTS.values()}


@pytest.mark.parametrize("mapping", [[], "{}", None, 5])
def test_request_from_wire_refuses_what_is_no_object(mapping: Any) -> None:
    """A row that is a list is a mistake in the file."""
    with pytest.raises(ValidationError, match="JSON object"):
        request_from_wire("img2video", mapping)


def test_request_from_wire_looks_for_files_where_it_is_told() -> None:
    """Relative to the folder of the JSON file; links and absolute paths stay."""
    images = ["fox.png", "sub/den.png", "/pictures/a.png", LINK, "data:image/png;base64,AA==", "ssupload:?id=1"]
    request = request_from_wire("reference2image", {**NEEDED[ReferenceToImage], "images": images}, base_dir="rows")

    assert request.to_wire()["images"] == [
        Path("rows/fox.png"),
        Path("rows/sub/den.png"),
        Path("/pictures/a.png"),
        *images[3:],
    ]


def test_request_from_wire_looks_for_subjects_files_there_too() -> None:
    """At any depth of the typed request."""
    row = {
        "model": "viduq2-pro",
        "prompt": "@cat",
        "subjects": [{"id": "cat", "images": ["cat.png"]}, {"name": "dog", "videos": ["dog.mp4"]}],
    }
    request = request_from_wire("reference2video", row, base_dir=Path("/rows"))

    assert request.to_wire()["subjects"] == [
        {"id": "cat", "images": [Path("/rows/cat.png")]},
        {"name": "dog", "videos": [Path("/rows/dog.mp4")]},
    ]


# Raw requests


def raw(endpoint: str, **given_fields: Any) -> RawRequest:
    """Return a raw request of the fields given."""
    return RawRequest(endpoint, given_fields)


def test_a_raw_request_sends_its_fields_as_given() -> None:
    """Also those that are empty: nobody here knows the endpoint."""
    given_fields: dict[str, Any] = {"model": "viduq2-pro", "duration": None, "prompt": "", "nested": {"a": [1.5]}}

    assert RawRequest("extend", given_fields).to_wire() == given_fields


@pytest.mark.parametrize("endpoint", ["", "/", None, 5])
def test_a_raw_request_needs_an_endpoint(endpoint: Any) -> None:
    """Else it would be posted to the root."""
    with pytest.raises(ValidationError) as refused:
        RawRequest(endpoint, {})

    assert refused.value.field == "endpoint"


@pytest.mark.parametrize("given_fields", [None, [1], "model", 5])
def test_a_raw_request_needs_a_mapping(given_fields: Any) -> None:
    """Anything else is no JSON object."""
    with pytest.raises(ValidationError, match="fields must be a mapping"):
        RawRequest("extend", given_fields)


# What a repr shows

SECRET = "c2VjcmV0"  # base64 of a word, and a signature just as well
SHY: dict[str, Any] = {
    "a signed link": ImageToVideo(model="m", images=[f"https://h.co/a?sig={SECRET}"]),
    "a data URL": ImageToVideo(model="m", images=[f"data:image/png;base64,{SECRET}"]),
    "bytes": ImageToVideo(model="m", images=[SECRET.encode()]),
    "a callback's token": text_to_video(callback_url=f"https://h.co/cb?token={SECRET}"),
    "a callback's password": text_to_video(callback_url=f"https://me:{SECRET}@h.co/cb"),
    "a watermark's link": text_to_video(wm_url=f"https://h.co/wm.png?sig={SECRET}"),
    "a link in extra": text_to_video(extra={"a": f"https://h.co/a?sig={SECRET}"}),
    "bytes in extra": text_to_video(extra={"a": {"b": [SECRET.encode()]}}),
    "a subject's link": Subject(name="cat", images=[f"https://h.co/a?sig={SECRET}"]),
    "a subject's link, in a request": ReferenceToVideo(
        model="m", prompt="p", subjects=[Subject(name="c", images=[f"https://h.co/?s={SECRET}"])]
    ),
    "bytes in a raw request": raw("extend", image=SECRET.encode()),
    "a link in a raw request": raw("extend", video_url=f"https://h.co/a?sig={SECRET}"),
}


@pytest.mark.parametrize("request_", SHY.values(), ids=SHY)
def test_a_repr_shows_neither_a_files_content_nor_a_links_query(request_: Any) -> None:
    """Reprs end up in logs, and whoever reads a signed link can use it."""
    assert SECRET not in repr(request_)


def test_a_repr_names_the_class_and_what_was_given() -> None:
    """And nothing that was not."""
    assert repr(text_to_video(seed=7)) == "TextToVideo(model='viduq2', seed=7, prompt='a fox')"
    assert repr(ImageToVideo(model="m", images=[PNG])) == "ImageToVideo(model='m', images=[<8 bytes>])"
    assert repr(raw("extend", model="m")) == "RawRequest(endpoint='extend', fields={'model': 'm'})"


def test_a_repr_stays_short() -> None:
    """A prompt may have 5000 characters."""
    assert len(repr(text_to_video(prompt="fox " * 1250, payload="x" * 1_000_000))) < 300


# Laws

words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
said = words.filter(str.strip)
unknown = words.map("x{}".format)  # of a known model, not every value would do
links = st.sampled_from([LINK, END, "fox.png", "ssupload:?id=1", "data:image/png;base64,AA=="])
plain: st.SearchStrategy[Any] = st.recursive(
    st.booleans() | st.integers() | words, lambda inner: st.lists(inner) | st.dictionaries(words, inner), max_leaves=4
)
more = st.dictionaries(words.map("x_{}".format), plain, max_size=2)
OPTIONAL: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(["seed", "duration"], st.integers(0, 2**63 - 1)),
    **dict.fromkeys(["bgm", "audio", "off_peak", "watermark", "is_rec", "auto_subjects"], st.booleans()),
    "wm_position": st.sampled_from([*range(1, 5), "top_left", WatermarkPosition.TOP_RIGHT]),
    "meta_data": plain.map(json.dumps),
    "style": st.sampled_from(["general", "anime"]),
    "audio_type": st.sampled_from(["all", "speech_only", "sound_effect_only"]),
    "callback_url": st.integers().map("https://example.com/cb?mine={}".format),
    "extra": more,
}
subjects = st.builds(
    Subject,
    name=said,
    name_key=st.sampled_from(["name", "id"]),
    images=st.lists(links, max_size=2),
    videos=st.lists(links, max_size=1),
    voice_id=words,
    server_id=words,
    extra=more,
)


FILES: dict[Any, tuple[int, int]] = {ImageToVideo: (1, 1), StartEndToVideo: (2, 2), ReferenceToImage: (0, 7)}
FORMS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"subjects": st.lists(subjects, min_size=1, max_size=3)}
) | st.fixed_dictionaries({"images": st.lists(links, min_size=1, max_size=7), "videos": st.lists(links, max_size=2)})


def files_of(kind: Any) -> st.SearchStrategy[dict[str, Any]]:
    """Draw as many files as a class takes."""
    if kind is ReferenceToVideo:
        return FORMS
    least, most = FILES.get(kind, (0, 0))
    return st.fixed_dictionaries({"images": st.lists(links, min_size=least, max_size=most)} if most else {})


def drawn(kind: Any) -> st.SearchStrategy[Any]:
    """Draw valid requests of a class, with any of its optional fields."""
    required = {"model": unknown, **({"prompt": said} if "prompt" in NEEDED[kind] else {})}
    others = {*SENT[kind], "extra"} - {*required, "images", "videos"}
    optional = {name: OPTIONAL.get(name, words) for name in sorted(others)}
    scalars = st.fixed_dictionaries(required, optional=optional)
    return st.builds(lambda chosen, files: kind(**chosen, **files), scalars, files_of(kind))


@given(request_=st.one_of([drawn(kind) for kind in SENT]))
def test_a_request_comes_back_from_the_wire_as_it_was(request_: Any) -> None:
    """Through JSON text and all."""
    sent = json.loads(json.dumps(request_.to_wire()))

    assert type(request_).from_wire(sent) == request_
    assert request_from_wire(request_.endpoint, sent) == request_


@given(subject=subjects)
def test_a_subject_comes_back_from_the_wire_as_it_was(subject: Subject) -> None:
    """With the key its name was under."""
    assert Subject.from_wire(json.loads(json.dumps(subject.to_wire()))) == subject


@given(request_=st.one_of([drawn(kind) for kind in SENT]))
def test_nothing_empty_is_ever_sent(request_: Any) -> None:
    """Not by any combination of fields."""
    assert not [name for name, value in request_.to_wire().items() if value is None or value in ("", [], {})]


any_text = st.text(st.characters(), max_size=20)
any_json: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | any_text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(any_text, inner, max_size=3),
    max_leaves=6,
)


@given(
    endpoint=st.sampled_from([*ENDPOINTS.values(), "extend"]),
    mapping=st.dictionaries(st.sampled_from([*VIDEO, *SENT[ImageToVideo], "subjects", "videos", "extra"]), any_json),
    needed=st.sampled_from([{}, {"model": "m", "prompt": "p"}, {"model": "m", "images": [LINK], "prompt": "p"}]),
    files=st.sampled_from([None, "rows"]),
)
def test_no_json_makes_a_request_fail_in_another_way_than_by_refusal(
    endpoint: str, mapping: dict[str, Any], needed: dict[str, Any], files: str | None
) -> None:
    """A bad row of a file is named, and the other rows go on."""
    try:
        sent = request_from_wire(endpoint, {**mapping, **needed}, base_dir=files).to_wire()
    except ValidationError:
        return
    assert sent["model"]
