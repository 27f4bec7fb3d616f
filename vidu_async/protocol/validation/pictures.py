"""What each endpoint takes of a picture or clip whose headers were read: bytes, pixels, proportions.

Only what a page says is refused, and only where it says so: of an endpoint without a page nothing is known.
https://platform.vidu.com/docs/image-to-video and its neighbours
"""

from collections.abc import Iterable, Iterator, Sequence
from math import gcd

from attrs import frozen

from vidu_async.protocol import catalog
from vidu_async.protocol.catalog import CATALOG
from vidu_async.protocol.checks import fault
from vidu_async.protocol.validation.asked import Found

SUBJECT = "subjects"
"""The endpoint at which a subject is stored."""


@frozen
class Seen:
    """A picture or clip of a request, as its headers show it."""

    place: str
    """Where it stands, such as `images[0]`."""
    name: str
    """How a message names the file; "" where its place is all that is known."""
    pixels: tuple[int, int] | None
    """Width and height as displayed; None for clips."""
    is_animated: bool = False

    @property
    def shape(self) -> str:
        """Its size as a message has it."""
        width, height = self.pixels or (0, 0)
        return f"is {width}x{height} pixels{self.name}"


def limit_of(endpoint: str, place: str, *, is_picture: bool) -> int:
    """Return the most bytes of a file at a place, as the page of its endpoint says."""
    if endpoint == SUBJECT or place.startswith("subjects["):
        return catalog.SUBJECT_FILE_LIMIT
    return catalog.PICTURE_LIMIT if is_picture else catalog.CLIP_LIMIT


def refusals(endpoint: str, seen: Sequence[Seen]) -> Found:
    """Refuse what no page allows."""
    for one in _pictures(endpoint, seen):
        yield from _small(endpoint, one)
        yield from _long(one)
    for said, readings in _unlike(endpoint, seen):
        if not any(readings):
            yield fault("images", said, [one.pixels for one in seen])


def doubts(endpoint: str, seen: Sequence[Seen]) -> Found:
    """Doubt what a page leaves open."""
    for one in _pictures(endpoint, seen):
        yield from _longish(one)
    for one in seen:
        if endpoint and one.is_animated:
            said = f"is animated{one.name}; no page says which of its pictures counts. Give the one that is meant"
            yield fault(one.place, said, one.name)
    for said, readings in _unlike(endpoint, seen):
        if any(readings) and not all(readings):
            yield fault("images", said, [one.pixels for one in seen])


def _pictures(endpoint: str, seen: Iterable[Seen]) -> Iterator[Seen]:
    """Return those of which a page says how many pixels they may have."""
    if endpoint in CATALOG or endpoint == SUBJECT:
        yield from (one for one in seen if one.pixels is not None)


def _small(endpoint: str, one: Seen) -> Found:
    least = catalog.REFERENCE_SIDE if endpoint == SUBJECT else CATALOG[endpoint].least_side
    if min(one.pixels or (least,)) < least:
        where = "of subjects" if endpoint == SUBJECT else f"at {endpoint}"
        yield fault(one.place, f"{one.shape}; {where} it takes at least {least}x{least}", one.pixels)


def _long(one: Seen) -> Found:
    short, long = sorted(one.pixels or (1, 1))
    if long > catalog.LONGEST_SIDES * short:
        said = f"{one.shape}, which is {_ratio(one)}; it takes from 1:4 to 4:1. Crop or pad it"
        yield fault(one.place, said, one.pixels)


def _longish(one: Seen) -> Found:
    short, long = sorted(one.pixels or (1, 1))
    if long == catalog.LONGEST_SIDES * short:
        said = f'{one.shape}, exactly {_ratio(one)}; pages say "less than", which may leave it out'
        yield fault(one.place, said, one.pixels)


def _ratio(one: Seen) -> str:
    width, height = one.pixels or (1, 1)
    common = gcd(width, height)
    return f"{width // common}:{height // common}"


def _unlike(endpoint: str, seen: Sequence[Seen]) -> Iterator[tuple[str, tuple[bool, ...]]]:
    """Tell of a first and a last frame what each reading of their rule says of them.

    The page bounds the first frame's resolution over the last one's, which may mean each side or all pixels. What both
    readings exclude is refused, what one of them does is in doubt. https://platform.vidu.com/docs/start-end-to-video
    """
    sizes = [one.pixels for one in seen if one.pixels is not None and one.place.startswith("images[")]
    if endpoint != "start-end2video" or len(sizes) != 2:  # noqa: PLR2004 - of a link nobody knows
        return
    (width, height), (last_width, last_height) = sizes
    sides = _alike(width, last_width) and _alike(height, last_height)
    readings = (sides, _alike(width * height, last_width * last_height))
    found = f"{width}x{height} and {last_width}x{last_height} pixels"
    yield f"are {found}; the first and the last frame must be alike, within 0.8 to 1.25. Resize one of them", readings


def _alike(one: int, other: int) -> bool:
    least, most = catalog.FRAMES_ALIKE
    return least * one <= most * other and least * other <= most * one
