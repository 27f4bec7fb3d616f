"""What you can ask for: one frozen class per creation endpoint.

A request is a plain value, checked when it is built: each field by its type (`checks.py`), all of them by what the
model offers (`catalog.py`). Media fields hold what you gave; only `media.py` opens it, before anything is sent.
`to_wire()` is the JSON mapping, `from_wire()` the way back.

What is refused here is what the API certainly refuses. What it may refuse, or take without effect, is a doubt:
`doubts()` names them, the client warns of them, and an unknown model is one, since new ones appear.
"""

from collections.abc import Mapping, Sequence
from enum import IntEnum
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

from attrs import NOTHING, evolve, field, fields, frozen

from vidu_async.protocol import wire
from vidu_async.protocol.checks import CHECKS, Media, by_type, hint, is_empty, is_remote, refusal, shown
from vidu_async.protocol.errors import ValidationError
from vidu_async.protocol.validation import references, verdicts


@frozen(kw_only=True, repr=False, field_transformer=by_type)
class _Wired:
    """A value with a place on the wire. Nothing that is None or empty is sent."""

    extra: dict[str, Any] = field(factory=dict)
    """Fields this class does not know, sent as they are."""

    def __attrs_post_init__(self) -> None:
        if self.extra and (known := sorted(self.extra.keys() & {*self._names()})):
            raise refusal("extra", "holds a field that has a keyword of its own", known[0])
        self._check()

    def _check(self) -> None:
        """Refuse what the API certainly refuses."""

    def doubts(self) -> tuple[ValidationError, ...]:
        """Return what the API may refuse or take without effect, as errors, in the order of the fields."""
        return tuple(verdicts.extra_doubts(self.extra, self._names()))

    @classmethod
    def _names(cls) -> list[str]:
        return [attribute.name for attribute in fields(cls)]

    def _given(self) -> dict[str, Any]:
        pairs = ((name, getattr(self, name)) for name in self._names())
        return {name: value for name, value in pairs if not is_empty(value)}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={shown(value)}' for name, value in self._given().items())})"

    def to_wire(self) -> dict[str, Any]:
        """Return the JSON mapping; local files stay as given until they are sent."""
        typed = {name: _plain(value) for name, value in self._given().items() if name != "extra"}
        return {**typed, **self.extra}

    @classmethod
    def from_wire(cls, mapping: Mapping[str, Any]) -> Self:
        """Build from a JSON mapping: "true" and "5" are converted, unknown fields land in `extra`.

        A creation's answer will do, too: of a mapping with `task_id` and `state` only this request's own fields are
        taken. That is the request that was answered, as far as the answer repeats it.
        """
        own = {attribute.name: attribute for attribute in fields(cls)}
        given = {name: value for name, value in mapping.items() if name in own}
        more = given.get("extra")
        if more is not None and not isinstance(more, Mapping):
            raise refusal("extra", "must be a mapping", more)
        given["extra"] = more or {}
        if not {"task_id", "state"} <= mapping.keys():
            unknown = {name: value for name, value in mapping.items() if name not in own}
            given["extra"] = {**unknown, **given["extra"]}
        elif given.get("wm_position") == "unspecified":  # the answer's word for none
            del given["wm_position"]
        for name, attribute in own.items():
            if attribute.default is NOTHING and name not in given:
                raise ValidationError(f"{name} is required", field=name)
        return wire.requests.structure(given, cls)


def _plain(value: object) -> object:
    if isinstance(value, tuple):
        return [item.to_wire() if isinstance(item, Subject) else item for item in value]
    return int(value) if isinstance(value, IntEnum) else value


@frozen(kw_only=True, repr=False, field_transformer=by_type)
class Subject(_Wired):
    """Somebody or something that a video keeps looking the same, called `@name` in the prompt.

    Either temporary (up to 3 `images`, or one clip of up to 5 s in `videos` with viduq2-pro), or stored: then
    `server_id`, as `ViduClient.create_subject` returns it. https://platform.vidu.com/docs/reference-to-video
    """

    name: str
    images: Sequence[Media] = ()
    videos: Sequence[Media] = ()
    voice_id: str | None = None
    server_id: str | None = None
    name_key: str = "name"
    """The wire's word for the name: `name`, or `id` as older pages and some gateways have it."""

    def _check(self) -> None:
        if self.name_key not in {"name", "id"}:
            raise refusal("name_key", "must be 'name' or 'id'", self.name_key, ("name", "id"))
        if self.name_key in self.extra:
            raise refusal("extra", "holds the key that the name goes under", self.name_key)
        references.check_subject(self._given())

    def _given(self) -> dict[str, Any]:
        given = super()._given()
        return given if self.name_key == "id" else {name: given[name] for name in given if name != "name_key"}

    def to_wire(self) -> dict[str, Any]:
        """Return the JSON mapping, with the name under `name_key`."""
        mapping = super().to_wire()
        return {self.name_key: self.name, **{name: mapping[name] for name in mapping if name not in _NAMING}}

    @classmethod
    def from_wire(cls, mapping: Mapping[str, Any]) -> Self:
        """Build from a JSON mapping; a name under `id` stays under `id`."""
        if "name" not in mapping and "id" in mapping:
            rest = {name: value for name, value in mapping.items() if name != "id"}
            mapping = {**rest, "name": mapping["id"], "name_key": "id"}
        return super().from_wire(mapping)


_NAMING = frozenset({"name", "name_key"})


def _subjects(value: object, attribute: Any) -> tuple[Subject, ...]:  # noqa: ANN401 - attrs' own generic
    if value is None:
        return ()
    if isinstance(value, (str, bytes)) or not isinstance(value, Sequence):
        raise refusal(attribute.name, "takes a list of Subject", value)
    subjects = tuple(Subject.from_wire(item) if isinstance(item, Mapping) else item for item in value)
    for place, item in enumerate(subjects):
        if not isinstance(item, Subject):
            raise refusal(f"{attribute.name}[{place}]", "must be a Subject", item)
    return subjects


CHECKS[Sequence[Subject]] = _subjects


@frozen(kw_only=True, repr=False, field_transformer=by_type)
class _Request(_Wired):
    """What every creation takes."""

    endpoint: ClassVar[str]

    model: str
    """Such as `viduq3-turbo`. Open: new models pass, with a warning."""
    seed: int | None = None
    """None or 0 lets Vidu choose."""
    payload: str | None = None
    """Up to 1,048,576 characters that come back with the task, byte for byte."""
    callback_url: str | None = None
    """Where Vidu posts changes of state."""

    def _check(self) -> None:
        verdicts.check(self.endpoint, self._given())

    def doubts(self) -> tuple[ValidationError, ...]:
        """Return what the API may refuse or take without effect, as errors, in the order of the fields."""
        names = self._names()
        found = verdicts.doubts(self.endpoint, self._given(), names)
        return tuple(sorted(found, key=lambda doubt: names.index(doubt.field.partition("[")[0])))


@frozen(kw_only=True, repr=False, field_transformer=by_type)
class _Video(_Request):
    """What every creation of a video takes."""

    duration: int | None = None
    """Seconds; the model decides which (viduq3: 1 to 16). 0 is automatic where a model has it."""
    resolution: str | None = None
    """`540p`, `720p`, `1080p` ..., by model."""
    movement_amplitude: str | None = None
    """`auto`, `small`, `medium` or `large`; no effect on q2 and q3 models."""
    bgm: bool | None = None
    """Add background music."""
    audio: bool | None = None
    """Video and sound in one piece; q3 models do so unless told not to."""
    off_peak: bool | None = None
    """Cheaper, within 48 hours."""
    watermark: bool | None = None
    """Also make a watermarked copy, `Creation.watermarked_url`."""
    wm_position: int | str | None = None
    """1 to 4 or `top_left`, `top_right`, `bottom_right`, `bottom_left`."""
    wm_url: str | None = None
    """The watermark's picture."""
    meta_data: str | None = None
    """Provenance as JSON text, passed through."""


@frozen(kw_only=True, repr=False, field_transformer=by_type)
class ImageToVideo(_Video):
    """A video that begins with a picture. https://platform.vidu.com/docs/image-to-video."""

    endpoint: ClassVar[str] = "img2video"

    images: Sequence[Media]
    """Exactly one."""
    prompt: str | None = None
    audio_type: str | None = None
    """`all`, `speech_only` or `sound_effect_only`."""
    voice_id: str | None = None
    """The speaker, when `audio` is on."""
    is_rec: bool | None = None
    """Let Vidu write the prompt, for 10 credits more."""


@frozen(kw_only=True, repr=False, field_transformer=by_type)
class StartEndToVideo(_Video):
    """A video between two pictures. https://platform.vidu.com/docs/start-end-to-video."""

    endpoint: ClassVar[str] = "start-end2video"

    images: Sequence[Media]
    """Exactly two: the first frame, the last frame."""
    prompt: str | None = None
    is_rec: bool | None = None
    """Let Vidu write the prompt, for 10 credits more."""


@frozen(kw_only=True, repr=False, field_transformer=by_type)
class ReferenceToVideo(_Video):
    """A video with given subjects, or after given pictures and clips: one form or the other, never both.

    https://platform.vidu.com/docs/reference-to-video
    """

    endpoint: ClassVar[str] = "reference2video"

    prompt: str
    subjects: Sequence[Subject] = ()
    """1 to 7."""
    images: Sequence[Media] = ()
    """Up to 7."""
    videos: Sequence[Media] = ()
    """viduq2-pro only: one of 8 s or two of 5 s."""
    auto_subjects: bool | None = None
    """Let Vidu find subjects in its library."""
    aspect_ratio: str | None = None
    """`16:9`, `9:16`, `1:1` ..., by model."""
    audio_type: str | None = None
    """`all`, `speech_only` or `sound_effect_only`."""


@frozen(kw_only=True, repr=False, field_transformer=by_type)
class ReferenceToImage(_Request):
    """A picture from a prompt and up to 7 pictures. https://platform.vidu.com/docs/reference-to-image."""

    endpoint: ClassVar[str] = "reference2image"

    prompt: str
    images: Sequence[Media] = ()
    """Up to 7; viduq2 also makes a picture from the prompt alone."""
    aspect_ratio: str | None = None
    """`16:9`, `9:16`, `1:1` ..., or `auto`: that of the first picture."""
    resolution: str | None = None
    """`1080p`; viduq2 also `2K` and `4K`."""


@frozen(kw_only=True, repr=False, field_transformer=by_type)
class TextToVideo(_Video):
    """A video from words alone. https://platform.vidu.com/docs/text-to-video."""

    endpoint: ClassVar[str] = "text2video"

    prompt: str
    style: str | None = None
    """`general` or `anime`; no effect on q2 and q3 models."""
    aspect_ratio: str | None = None
    """`16:9`, `9:16`, `1:1` ..., by model."""


def _as_dict(given: Mapping[str, Any]) -> dict[str, Any]:
    return dict(given)


@frozen
class RawRequest:
    """A request to any other creation endpoint, sent with the same safety and unchecked: `RawRequest("extend", {...})`.

    Bytes and paths (as `pathlib.Path`) anywhere in `fields` go out as data URLs; so do texts that are no URLs in lists
    named `images` and `videos`.
    """

    endpoint: str
    fields: Mapping[str, Any] = field(converter=_as_dict, repr=shown)

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.endpoint, str) or not self.endpoint.strip("/"):
            raise refusal("endpoint", "is required", self.endpoint)

    def to_wire(self) -> dict[str, Any]:
        """Return the fields as given."""
        return dict(self.fields)

    def doubts(self) -> tuple[ValidationError, ...]:
        """Return none: nothing is known of it."""
        return ()


Request = ImageToVideo | StartEndToVideo | ReferenceToVideo | ReferenceToImage | TextToVideo | RawRequest
"""Anything `ViduClient.submit` takes."""

_KINDS: dict[str, type[_Request]] = {
    kind.endpoint: kind for kind in (ImageToVideo, StartEndToVideo, ReferenceToVideo, ReferenceToImage, TextToVideo)
}


def request_from_wire(
    endpoint: str, mapping: Mapping[str, Any], *, base_dir: str | PathLike[str] | None = None
) -> Request:
    """Build the request of an endpoint (`img2video`, ...) from its JSON mapping, as the rows of a file hold it.

    Paths of pictures and clips are taken relative to `base_dir`, if given.

    Raises:
        ValidationError: no such endpoint, or fields the API certainly refuses.

    """
    kind = _KINDS.get(endpoint)
    if kind is None:
        near = hint(endpoint, _KINDS) or ". RawRequest takes any other."
        said = f"endpoint must be one of {', '.join(_KINDS)}, not {shown(endpoint)}{near}"
        raise ValidationError(said, field="endpoint", value=endpoint, allowed=_KINDS)
    if not isinstance(mapping, Mapping):
        raise refusal("request", "must be a JSON object", mapping)
    request = kind.from_wire(mapping)
    return request if base_dir is None else _below(Path(base_dir), request)  # type: ignore[return-value]


_W = TypeVar("_W", bound=_Wired)


def _below(base: Path, value: _W) -> _W:
    """Return the request with the local paths in it taken relative to a folder."""
    changes: dict[str, Any] = {}
    for name in ("images", "videos"):
        if files := getattr(value, name, ()):
            changes[name] = [item if isinstance(item, bytes) or is_remote(item) else base / item for item in files]
    if subjects := getattr(value, "subjects", ()):
        changes["subjects"] = [_below(base, subject) for subject in subjects]
    return evolve(value, **changes)
