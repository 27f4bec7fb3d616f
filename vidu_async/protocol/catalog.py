"""What each model offers at each endpoint: one table, and nothing that judges (`validation` does).

Its rule: a value is either *listed*, on the newest official page of its endpoint, or it is in a field whose name begins
with `also`: an older official page, the model map, the default gateway's page, a documented example or a recorded task
has it. What is in neither, no source has.

Sources: https://platform.vidu.com/docs/<page> for each endpoint, named below; across endpoints
https://platform.vidu.com/docs/model-map and https://platform.vidu.com/docs/pricing; the default gateway's pages of
img2video, start-end2video, reference2video and reference2image, called "the gateway's page" below.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from enum import Enum
from typing import Final

from attrs import evolve, field, frozen

PAYLOAD_LIMIT: Final = 1_048_576
"""Characters of `payload` that Vidu passes through."""
AMPLITUDES: Final = ("auto", "small", "medium", "large")
STYLES: Final = ("general", "anime")
AUDIO_TYPES: Final = ("all", "speech_only", "sound_effect_only")

# https://platform.vidu.com/docs/reference-to-video
MOST_SUBJECTS: Final = 7
MOST_PICTURES_OF_SUBJECTS: Final = 7
"""In all subjects of a request together; the gateway's page says so, and none contradicts it."""
FILES_OF_A_SUBJECT: Final = 3
"""Of pictures; with its clip among them by the newest page, beside it by the gateway's."""
CLIPS_OF_A_SUBJECT: Final = 1
MOST_CLIPS: Final = 2
PICTURES_BESIDE_CLIPS: Final = 4
# Of viduq2-pro, the one model that looks at clips, on the newest page; the gateway's counts 7 of any kind:
STILL_SUBJECTS: Final = 4
MOVING_SUBJECTS: Final = 2
TEMPORARY_MOVING_SUBJECTS: Final = 1

# Pictures and clips, as far as a page limits them at all: https://platform.vidu.com/docs/image-to-video and neighbours
BODY_LIMIT: Final = 20 * 1024 * 1024
"""Bytes of a creation's body."""
PICTURE_LIMIT: Final = 50 * 1024 * 1024
"""Bytes of a picture."""
CLIP_LIMIT: Final = 100 * 1024 * 1024
"""Bytes of a clip; the page of reference-to-video says so."""
SUBJECT_FILE_LIMIT: Final = 20 * 1024 * 1024
"""Bytes of a file of a subject, before it becomes base64."""
REFERENCE_SIDE: Final = 128
"""The fewest pixels of each side of a picture that is referred to, as a subject's are."""
LONGEST_SIDES: Final = 4
"""How many times as long as the other a side may be: "less than 1:4 or 4:1"."""
FRAMES_ALIKE: Final = (4, 5)
"""The smallest ratio of the first frame's resolution to the last one's, or the other way round: 0.8 to 1.25."""


class AnyRatio(Collection[str]):
    """Every `W:H` of positive whole numbers, and `auto`. As a list, the ones that pages print."""

    _RATIO = re.compile(r"[1-9][0-9]*:[1-9][0-9]*")

    def __contains__(self, value: object) -> bool:
        return isinstance(value, str) and (value == "auto" or self._RATIO.fullmatch(value) is not None)

    def __iter__(self) -> Iterator[str]:
        return iter((*FIVE, "auto"))

    def __len__(self) -> int:
        return len(FIVE) + 1


THREE: Final = ("16:9", "9:16", "1:1")
FIVE: Final = (*THREE, "3:4", "4:3")
ANY: Final = AnyRatio()


class OffPeak(Enum):
    """Which tasks a model makes off-peak; `off_peak` begins the sentence."""

    ALL = "is offered"
    SOUNDING = "needs audio"
    SILENT = "needs audio=False"
    NONE = "is not offered"


@frozen
class Offer:
    """Durations, in seconds, that share their resolutions."""

    durations: Collection[int]
    resolutions: tuple[str, ...]


@frozen(kw_only=True)
class Row:
    """What a model offers at an endpoint."""

    offers: tuple[Offer, ...]
    also: tuple[Offer, ...] = ()
    seconds: int = 5
    """The duration if none is given."""
    ratios: Collection[str] = ()
    also_ratios: Collection[str] = ()
    sounds: bool | None = None
    """Whether `audio` is on if it is not given; None where the model has none."""
    bgm_up_to: float = float("inf")
    """Seconds up to which `bgm` has an effect."""
    is_steered: bool = True
    """Whether `movement_amplitude` and `style` have an effect."""
    off_peak: OffPeak = OffPeak.ALL
    fewest_images: int = 0
    takes_subjects: bool = True
    takes_clips: bool = False
    takes_voices: bool = True
    """Whether a subject's voice has an effect."""
    doubt: str = ""
    """Why the model itself is in doubt here."""
    durations: tuple[int, ...] = field(init=False)
    """Those of all offers."""
    also_durations: tuple[int, ...] = field(init=False)

    @durations.default
    def _durations(self) -> tuple[int, ...]:
        return _durations(self.offers)

    @also_durations.default
    def _also_durations(self) -> tuple[int, ...]:
        return _durations(self.also)


def _durations(offers: Iterable[Offer]) -> tuple[int, ...]:
    return tuple(sorted({seconds for offer in offers for seconds in offer.durations}))


@frozen
class Endpoint:
    """What an endpoint takes of any model, and the rows of those that are known."""

    models: Mapping[str, Row] = field(repr=False)
    images: tuple[int, int] = (0, 0)
    """The fewest and the most."""
    prompt: tuple[int, int] = (2000, 5000)
    """The most code points by every page, and by the one that allows most."""
    least_side: int = 0
    """The fewest pixels of a picture's side."""


_ALL: Final = ("540p", "720p", "1080p")
_HIGH: Final = ("720p", "1080p")

_Q3: Final = Row(
    offers=(Offer(range(1, 17), _ALL),),
    ratios=FIVE,
    sounds=True,
    bgm_up_to=0,
    is_steered=False,
    off_peak=OffPeak.SOUNDING,
)
_Q2: Final = Row(offers=(Offer(range(1, 11), _ALL),), ratios=FIVE, bgm_up_to=8, is_steered=False)
_Q1: Final = Row(offers=(Offer((5,), ("1080p",)),), ratios=THREE)
_OLD: Final = Row(offers=(Offer((4,), ("360p", *_HIGH)), Offer((8,), ("720p",))), seconds=4, ratios=THREE)
_Q2_FRAMES: Final = evolve(_Q2, bgm_up_to=float("inf"))
_RETIRED: Final = "is on older pages only"


def _high(row: Row) -> Row:
    """Return the row of a faster sister, which has no 540p; a real task was refused for it."""
    return evolve(row, offers=(Offer(row.offers[0].durations, _HIGH),))


def _sounding(row: Row) -> Row:
    """Return the row where `audio` can be had but is off unless asked for, and off-peak goes without it."""
    return evolve(row, sounds=False, off_peak=OffPeak.SILENT)


def _short(row: Row) -> Row:
    """Return the row of 1 to 8 s: the gateway's page gives the family up to 10."""
    (offer,) = row.offers
    return evolve(row, offers=(Offer(range(1, 9), offer.resolutions),), also=(Offer(range(9, 11), offer.resolutions),))


_TEXT_TO_VIDEO: Final = {  # text-to-video
    "viduq3-turbo": _Q3,
    "viduq3-pro": _Q3,
    "viduq2": _Q2,
    "viduq1": _Q1,
    "vidu1.5": evolve(_OLD, doubt=_RETIRED),
}

_IMAGE_TO_VIDEO: Final = {  # image-to-video
    "viduq3-turbo": _Q3,
    "viduq3-pro": _Q3,
    "viduq3-pro-fast": evolve(_high(_Q3), off_peak=OffPeak.ALL),
    "viduq2-pro": _sounding(_Q2),
    "viduq2-turbo": _sounding(_Q2),
    "viduq2-pro-fast": _high(_sounding(_Q2)),
    "viduq2": _sounding(_Q2),  # the gateway's page
    "viduq1": _sounding(_Q1),
    "viduq1-classic": _sounding(_Q1),
    "vidu2.0": _sounding(_OLD),
    "vidu1.5": evolve(_OLD, doubt=_RETIRED),
}

_START_END_TO_VIDEO: Final = {  # start-end-to-video
    "viduq3-turbo": _Q3,
    "viduq3-pro": _Q3,
    "viduq2-pro": _short(_Q2_FRAMES),
    "viduq2-turbo": _short(_Q2_FRAMES),
    "viduq2-pro-fast": _short(_high(_Q2_FRAMES)),
    "viduq2": _Q2_FRAMES,  # the gateway's page
    "viduq1": _Q1,
    "viduq1-classic": _Q1,
    "vidu2.0": _OLD,
}

# The gateway's page gives q3 models any ratio, and its list of five to every model.
_Q3_REFERENCE: Final = evolve(_Q3, offers=(Offer(range(3, 17), _ALL),), ratios=THREE, also_ratios=ANY)
_Q2_REFERENCE: Final = evolve(_sounding(_Q2), ratios=ANY)
_OLD_REFERENCE: Final = evolve(_sounding(_OLD), offers=(Offer((4,), ("360p", "720p")),), also_ratios=("3:4", "4:3"))
_MAPPED: Final = evolve(
    _Q3_REFERENCE, offers=(Offer(range(3, 16), _HIGH),), ratios=ANY, doubt="is in the model map only"
)

_REFERENCE_TO_VIDEO: Final = {  # reference-to-video
    "viduq3-mix": evolve(
        _Q3_REFERENCE,
        offers=(Offer(range(3, 17), _HIGH),),
        also=(Offer(range(1, 17), _ALL),),  # the model map
        off_peak=OffPeak.NONE,
        takes_subjects=False,  # the gateway's page has it among the models of subjects
    ),
    "viduq3": _Q3_REFERENCE,
    "viduq3-turbo": _Q3_REFERENCE,
    "viduq2-pro": evolve(
        _Q2_REFERENCE,
        offers=(Offer(range(11), _ALL),),  # 0 s: Vidu chooses
        takes_clips=True,
        takes_voices=False,
    ),
    "viduq2": _Q2_REFERENCE,
    "viduq1": evolve(_sounding(_Q1), also_ratios=("3:4", "4:3")),
    "vidu2.0": _OLD_REFERENCE,
    "vidu1.5": evolve(_OLD_REFERENCE, offers=_OLD.offers, takes_subjects=False, doubt=_RETIRED),
    "viduq3-drama": _MAPPED,
    "viduq3-ad": _MAPPED,
}

# A picture has no duration, which reads as 0 s.
_REFERENCE_TO_IMAGE: Final = {  # reference-to-image
    "viduq2": Row(
        seconds=0,
        offers=(Offer((0,), ("1080p", "2K", "4K")),),
        also=(Offer((0,), ("2k", "4k")),),  # as an application sends them
        ratios=(*FIVE, "21:9", "2:3", "3:2", "auto"),
    ),
    # The example of the gateway's page has no images.
    "viduq1": Row(seconds=0, offers=(Offer((0,), ("1080p",)),), ratios=(*FIVE, "auto"), fewest_images=1),
}

CATALOG: Final[Mapping[str, Endpoint]] = {
    "text2video": Endpoint(_TEXT_TO_VIDEO),
    "img2video": Endpoint(_IMAGE_TO_VIDEO, images=(1, 1)),
    "start-end2video": Endpoint(_START_END_TO_VIDEO, images=(2, 2)),
    "reference2video": Endpoint(_REFERENCE_TO_VIDEO, images=(0, 7), least_side=REFERENCE_SIDE),
    "reference2image": Endpoint(_REFERENCE_TO_IMAGE, images=(0, 7), prompt=(2000, 2000), least_side=REFERENCE_SIDE),
}
