"""What you can ask for: one frozen class per creation endpoint.

A request is a plain value, checked when it is built: each field by its type (`checks.py`), all of them by what the
model offers (`catalog.py`). Media fields hold what you gave; only `media.py` opens it, before anything is sent.
`to_wire()` is the JSON mapping, `from_wire()` the way back.

What is refused here is what the API certainly refuses. What it may refuse, or take without effect, is a doubt:
`doubts()` names them, the client warns of them, and an unknown model is one, since new ones appear.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import IntEnum
from functools import cache
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

from attrs import NOTHING, evolve, field, fields, frozen

from vidu_async.protocol import wire
from vidu_async.protocol.checks import (
    CHECKS,
    by_type,
    fault,
    hint,
    is_empty,
    nearest,
    place_of,
    placed,
    refusal,
    shown,
)
from vidu_async.protocol.errors import ValidationError
from vidu_async.protocol.given import Media, comparable, is_content, is_remote
from vidu_async.protocol.validation import references, verdicts


@frozen(kw_only=True, repr=False, field_transformer=by_type)
class _Wired:
    """A value with a place on the wire. Nothing that is None or empty is sent."""

    extra: dict[str, Any] = field(factory=dict)
    """Fields this class does not know, sent as they are."""

    def __attrs_post_init__(self) -> None:
        verdicts.check_extra(self.extra, self._names())
        self._check()

    def _check(self) -> None:
        """Refuse what the API certainly refuses."""

    def doubts(self, *, known_as: str | None = None, offered: bool = False) -> tuple[ValidationError, ...]:
        """Return what the API may refuse or take without effect, as errors, in the order of the fields.

        `known_as` is Vidu's name of the model where the gateway has its own; `offered` says that the gateway has it.
        """
        names = self._names()
        found = list(self._doubts(known_as, offered=offered))
        return tuple(sorted(found, key=lambda doubt: names.index(doubt.field.partition("[")[0]))) if found else ()

    def _doubts(self, known_as: str | None, *, offered: bool) -> Iterator[ValidationError]:  # noqa: ARG002 - of requests
        yield from verdicts.extra_doubts(self.extra, self._names(), (), "")

    @classmethod
    @cache
    def _names(cls) -> tuple[str, ...]:
        return tuple(attribute.name for attribute in fields(cls))

    def _given(self) -> dict[str, Any]:
        # None is asked for here, too: it is the commonest, and a comparison is cheaper than a call.
        pairs = [(name, value) for name in self._names() if (value := getattr(self, name)) is not None]
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
        if not isinstance(mapping, Mapping):
            raise ValidationError(f"{cls.__name__} must be a JSON object, not {shown(mapping)}", value=mapping)
        own = cls._names()
        given = {name: value for name, value in mapping.items() if name in own}
        unknown = {name: value for name, value in mapping.items() if name not in own}
        if {"task_id", "state"} <= mapping.keys():
            unknown = {}
            if place_of(given.get("wm_position")) is None:  # an answer's word for none, such as `unspecified`
                given.pop("wm_position", None)
        given["extra"] = {**unknown, **_extra_of(given)}
        cls._check_required(given)
        return wire.requests.structure(given, cls)

    @classmethod
    def _check_required(cls, given: Mapping[str, Any]) -> None:
        for attribute in fields(cls):
            name = attribute.name
            if attribute.default is NOTHING and name not in given:
                slip = nearest(name, [word for word in given["extra"] if isinstance(word, str)], cutoff=0.7)
                guess = f". Did you mean {name!r} where it says {slip!r}?" if slip else ""
                raise fault(name, f"is required{guess}", None)


def _extra_of(given: Mapping[str, Any]) -> Mapping[str, Any]:
    more = given.get("extra")
    if not is_empty(more) and not isinstance(more, Mapping):
        raise refusal("extra", "must be a mapping", more)
    return more or {}


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
        if "id" in self.extra:
            said = "holds 'id', under which older pages have the name; a stored subject's id is its server_id"
            raise fault("extra", said, "id")
        references.check_subject(self._given())

    def _doubts(self, known_as: str | None, *, offered: bool) -> Iterator[ValidationError]:
        yield from super()._doubts(known_as, offered=offered)
        yield from references.subject_alone(self._given())

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
        if isinstance(mapping, Mapping) and "name" not in mapping and "id" in mapping:
            rest = {name: value for name, value in mapping.items() if name != "id"}
            mapping = {**rest, "name": mapping["id"], "name_key": "id"}
        return super().from_wire(mapping)


_NAMING = frozenset({"name", "name_key"})


def _subjects(value: object, attribute: Any) -> tuple[Subject, ...]:  # noqa: ANN401 - attrs' own generic
    if value is None:
        return ()
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
        raise refusal(attribute.name, "takes a list of Subject", value)
    return tuple(_subject(item, f"{attribute.name}[{place}]") for place, item in enumerate(value))


def _subject(item: object, place: str) -> Subject:
    if isinstance(item, Subject):
        return item
    if not isinstance(item, Mapping):
        raise refusal(place, "must be a Subject", item)
    try:
        return Subject.from_wire(item)
    except ValidationError as error:
        raise placed(error, place) from None


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

    def _doubts(self, known_as: str | None, *, offered: bool) -> Iterator[ValidationError]:
        if self.extra:
            names = self._names()
            yield from verdicts.extra_doubts(self.extra, names, _WORDS - {*names}, self.endpoint)
        yield from verdicts.doubts(self.endpoint, self._given(), known_as=known_as, offered=offered)


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
    if not isinstance(given, Mapping):
        raise refusal("fields", "must be a mapping", given)
    return dict(given)


@frozen
class RawRequest:
    """A request to any other creation endpoint, sent with the same safety and unchecked: `RawRequest("extend", {...})`.

    Bytes, paths (as `pathlib.Path`), open files, Pillow pictures and numpy arrays anywhere in `fields` go out as data
    URLs; so do texts that are no URLs in `images`, `videos`, `start_image`, `key_image` and `image`, wherever they are.
    Only the format is checked, and that nothing is cut short.
    """

    endpoint: str
    fields: Mapping[str, Any] = field(converter=_as_dict, repr=shown, eq=comparable)

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.endpoint, str) or not self.endpoint.strip("/"):
            raise refusal("endpoint", "is required", self.endpoint)

    def to_wire(self) -> dict[str, Any]:
        """Return the fields as given."""
        return dict(self.fields)

    def doubts(self, *, known_as: str | None = None, offered: bool = False) -> tuple[ValidationError, ...]:  # noqa: ARG002 - as any request
        """Return none: nothing is known of it."""
        return ()


Request = ImageToVideo | StartEndToVideo | ReferenceToVideo | ReferenceToImage | TextToVideo | RawRequest
"""Anything `ViduClient.submit` takes."""

_KINDS: dict[str, type[_Request]] = {
    kind.endpoint: kind for kind in (ImageToVideo, StartEndToVideo, ReferenceToVideo, ReferenceToImage, TextToVideo)
}
_WORDS = frozenset({"endpoint", *(attribute.name for kind in _KINDS.values() for attribute in fields(kind))})
"""What a row of a file may hold for some endpoint, so that it is a slip at another."""


def request_from_wire(
    endpoint: str, mapping: Mapping[str, Any], *, base_dir: str | PathLike[str] | None = None
) -> Request:
    """Build the request of an endpoint (`img2video`, ...) from its JSON mapping, as the rows of a file hold it.

    Paths of pictures and clips are taken relative to `base_dir`, if given.

    Raises:
        ValidationError: no such endpoint, or fields the API certainly refuses.

    """
    kind = _KINDS.get(endpoint) if isinstance(endpoint, str) else None
    if kind is None:
        near = hint(endpoint, _KINDS) or ". RawRequest takes any other."
        said = f"endpoint must be one of {', '.join(_KINDS)}, not {shown(endpoint)}{near}"
        raise ValidationError(said, field="endpoint", value=endpoint, allowed=_KINDS)
    request = kind.from_wire(mapping)
    return request if base_dir is None else _below(Path(base_dir), request)  # type: ignore[return-value]


_W = TypeVar("_W", bound=_Wired)


def _below(base: Path, value: _W) -> _W:
    """Return the request with the local paths in it taken relative to a folder."""
    changes: dict[str, Any] = {}
    for name in ("images", "videos"):
        if files := getattr(value, name, ()):
            changes[name] = [item if is_content(item) or is_remote(item) else base / item for item in files]
    if subjects := getattr(value, "subjects", ()):
        changes["subjects"] = [_below(base, subject) for subject in subjects]
    return evolve(value, **changes)
