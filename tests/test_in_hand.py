"""Pictures in memory and in open files: read when they are submitted, and sent as what they show."""

from __future__ import annotations

import asyncio
import io
import os
import pickle
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pictures import PNG, jpeg, mp4, png, segment, webp
from PIL import Image, ImageOps

from vidu_async import ImageToVideo, RawRequest, ReferenceToVideo, Request, Subject, ValidationError, ViduClient
from vidu_async.local_files import LocalFile
from vidu_async.media import has_local, resolved
from vidu_async.testing import Simulator


def content(given_as: object, field: str = "images") -> bytes:
    """Return the bytes that go out for what is given."""
    (file,) = resolved({field: [given_as]})[field]
    assert isinstance(file, LocalFile)
    assert isinstance(file.source, bytes)
    return file.source


def shown(given_as: object) -> Image.Image:
    """Return the picture that goes out for what is given."""
    return Image.open(io.BytesIO(content(given_as)))


def refused(given_as: object) -> str:
    """Have something refused, and return the message."""
    with pytest.raises(ValidationError) as caught:
        resolved({"images": ["https://example.com/fox.png", given_as]})
    assert (caught.value.field, caught.value.paid) == ("images[1]", "no")
    assert caught.value.__context__ is None
    return str(caught.value)


# Everything at once


WAYS: dict[str, Callable[[Path], Any]] = {
    "a path": lambda path: path,
    "the text of a path": str,
    "bytes": Path.read_bytes,
    "a bytearray": lambda path: bytearray(path.read_bytes()),
    "a memoryview": lambda path: memoryview(path.read_bytes()),
    "an open file": lambda path: path.open("rb"),
    "a file in memory": lambda path: io.BytesIO(path.read_bytes()),
    "a Pillow picture": Image.open,
    "an array": lambda path: np.full((192, 256), 127, np.uint8),
}


@pytest.fixture(params=WAYS)
def given_as(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """One picture in each way it can be given."""
    path = tmp_path / "fox.png"
    path.write_bytes(PNG)
    made = WAYS[request.param](path)
    yield made
    if isinstance(made, (io.IOBase, Image.Image)):
        made.close()


async def test_a_picture_is_taken_in_every_way_it_can_be_given(given_as: Any, vidu: ViduClient, sim: Simulator) -> None:
    """In a typed request, in a subject and in a raw one, as one to be looked at in a thread; and its repr is short."""
    requests: list[Request] = [
        ImageToVideo(model="viduq3-turbo", images=[given_as]),
        ReferenceToVideo(model="viduq2", prompt="@a runs", subjects=[Subject(name="a", images=[given_as])]),
        RawRequest("img2video", {"model": "viduq3-turbo", "images": [given_as]}),
    ]
    for request in requests:
        assert has_local(request.to_wire())
        assert len(repr(request)) < 300
        await vidu.submit(request)
    assert len(sim.accepted) == 3


def test_a_picture_is_found_anywhere_in_a_raw_request(given_as: Any) -> None:
    """A text only where a field is for pictures."""
    body = {"image_settings": [{"key_image": given_as}], "start_image": given_as, "image": given_as}
    found = resolved(RawRequest("multiframe", body).to_wire())

    for file in (found["image_settings"][0]["key_image"], found["start_image"], found["image"]):
        assert isinstance(file, LocalFile)
    anywhere = resolved({"deep": [{"er": given_as}]})["deep"][0]["er"]
    assert isinstance(anywhere, LocalFile) or isinstance(given_as, str)


async def test_what_can_change_is_read_when_it_is_submitted(vidu: ViduClient) -> None:
    """Once per submission, and not when the request is built."""
    buffer = bytearray(PNG)
    request = ImageToVideo(model="viduq3-turbo", images=[buffer])
    before = await vidu.fingerprint(request)
    buffer[:] = png(label=b"another")

    assert await vidu.fingerprint(request) != before
    assert await vidu.fingerprint(request) == await vidu.fingerprint(
        ImageToVideo(model="viduq3-turbo", images=[png(label=b"another")])
    )


# Bytes that are not bytes


def test_buffers_are_copied() -> None:
    """A part of a larger one, and one whose bytes do not lie side by side."""
    whole = bytearray(b"before" + PNG + b"after")
    spread = memoryview(bytes(value for byte in PNG for value in (byte, 0)))[::2]

    for buffer in (bytearray(PNG), memoryview(whole)[6:-5], spread):
        assert content(buffer) == PNG


@pytest.mark.parametrize("nothing", [b"", bytearray(), memoryview(b"")])
def test_an_empty_buffer_is_refused_when_the_request_is_built(nothing: Any) -> None:
    """With its place."""
    with pytest.raises(ValidationError, match=r"images\[0\] must hold something"):
        ImageToVideo(model="m", images=[nothing])


def test_a_released_buffer_is_refused() -> None:
    """It may have been somebody's for a while only."""
    view = memoryview(PNG)
    body = {"images": [view]}
    view.release()

    with pytest.raises(ValidationError, match="released"):
        resolved(body)


# Files


@pytest.mark.parametrize("at", [0, 5, len(PNG)])
def test_a_file_is_read_whole_and_left_where_it_was(tmp_path: Path, at: int) -> None:
    """Whoever has just written it is at its end."""
    (tmp_path / "fox.png").write_bytes(PNG)
    with (tmp_path / "fox.png").open("rb") as buffered, (tmp_path / "fox.png").open("rb", buffering=0) as raw:
        for file in (buffered, raw, io.BytesIO(PNG)):
            file.seek(at)
            assert content(file) == PNG
            assert file.tell() == at


def test_files_of_the_standard_library_are_taken(tmp_path: Path) -> None:
    """Temporary ones, and those in archives."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("fox.png", PNG)
    with (
        tempfile.NamedTemporaryFile() as named,
        tempfile.SpooledTemporaryFile() as spooled,
        zipfile.ZipFile(tmp_path / "a.zip") as archive,
        archive.open("fox.png") as inside,
    ):
        for file in (named, spooled):
            file.write(PNG)
            assert content(file) == PNG
        assert content(inside) == PNG


def test_a_clip_may_be_an_open_file() -> None:
    """In the field for clips."""
    assert content(io.BytesIO(mp4()), "videos") == mp4()


def test_a_file_that_several_threads_read_is_whole_for_each() -> None:
    """It has one place only, and each goes back to its start."""
    large = png(size=3_000_000)
    file = io.BytesIO(large)
    together = threading.Barrier(8)

    def read(_: int) -> bool:
        together.wait()
        return content(file) == large

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, range(8)))


class Stuck(io.BytesIO):
    """Has nothing to give until it is told to go on, as a file on a network that is gone."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.asked, self.go_on = threading.Event(), threading.Event()

    def read(self, size: int | None = -1, /) -> bytes:
        """Wait, and read."""
        self.asked.set()
        self.go_on.wait(60)
        return super().read(size)


def test_a_file_that_is_slow_keeps_no_other_waiting() -> None:
    """Nor a picture: whoever reads it waits alone."""
    stuck = Stuck(PNG)
    with ThreadPoolExecutor(3) as pool:
        slow = pool.submit(content, stuck)
        stuck.asked.wait(60)
        others = [pool.submit(content, other) for other in (io.BytesIO(PNG), Image.open(io.BytesIO(PNG)))]
        try:
            assert all(other.result(timeout=30) for other in others)
            assert not slow.done()
        finally:
            stuck.go_on.set()
        assert slow.result() == PNG


class Slow(io.BytesIO):
    """Returns a few bytes at a time, as a raw file may."""

    def read(self, size: int | None = -1, /) -> bytes:
        """Read at most 1000."""
        return super().read(min(1000, size if size is not None and size >= 0 else 1000))


def test_a_file_that_returns_less_than_asked_is_read_on() -> None:
    """To its end."""
    assert content(Slow(png(size=5000))) == png(size=5000)


class Endless(io.BytesIO):
    """Never ends, and counts what was taken of it."""

    taken = 0

    def read(self, size: int | None = -1, /) -> bytes:
        """Return as much as is asked for."""
        piece = min(size or 0, 2**20)
        self.taken += piece
        return bytes(piece)


def test_no_more_is_read_of_a_file_than_could_be_taken() -> None:
    """One byte more than a picture may have."""
    file = Endless()

    assert "up to 52428800 bytes" in refused(file)
    assert file.taken == 50 * 2**20 + 1


class Asynchronous:
    """As web frameworks hand over uploads."""

    async def read(self, size: int = -1) -> bytes:
        """Read."""
        return PNG[:size]

    async def seek(self, place: int) -> None:
        """Go there."""

    async def tell(self) -> int:
        """Say where."""
        return 0


class Delegated(Asynchronous):
    """As a library hands over files that it reads in threads: all of its methods are coroutines."""

    async def seekable(self) -> bool:
        """Say so."""
        return True


def _pipe() -> Any:
    receiver, sender = os.pipe()
    os.close(sender)
    return os.fdopen(receiver, "rb")


def _closed() -> io.BytesIO:
    file = io.BytesIO(PNG)
    file.close()
    return file


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: io.StringIO("text"), "open it with 'rb'"),
        (lambda: open(__file__), "open it with 'rb'"),  # noqa: PTH123, SIM115 - as a caller would
        (lambda: tempfile.NamedTemporaryFile("w+"), "open it with 'rb'"),  # noqa: SIM115 - as above
        (lambda: open(os.devnull, "wb"), "not readable|read"),  # noqa: PTH123, SIM115 - as above
        (_pipe, r"pass its \.read\(\)"),
        (lambda: socket.socket().makefile("rb"), r"pass its \.read\(\)"),
        (_closed, "closed file"),
        (Asynchronous, r"await \.read\(\)"),
        (Delegated, r"await \.read\(\)"),
        (asyncio.StreamReader, r"pass its \.read\(\)"),
    ],
)
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.filterwarnings("ignore:Implicitly cleaning up:ResourceWarning")
async def test_a_file_that_cannot_be_read_is_refused_with_what_would_do(make: Callable[[], Any], said: str) -> None:
    """Before anything is sent; nothing is left that was never awaited."""
    file = make()

    with pytest.raises(ValidationError, match=said):
        resolved({"images": [file]})
    if not isinstance(file, (Asynchronous, asyncio.StreamReader)):
        file.close()


def test_a_file_is_shown_by_its_name_and_not_by_its_content(tmp_path: Path) -> None:
    """Reprs end up in logs."""
    (tmp_path / "fox.png").write_bytes(b"s3cret")
    with (tmp_path / "fox.png").open("rb") as file:
        assert "fox.png" in refused(file) or "another kind" in refused(file)
        assert "fox.png" in repr(ImageToVideo(model="m", images=[file]))
    assert "s3cret" not in repr(ImageToVideo(model="m", images=[io.BytesIO(b"s3cret")]))


# Pillow


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_a_picture_that_a_png_holds_goes_out_as_it_is(mode: str) -> None:
    """Pixel by pixel."""
    picture = Image.new(mode, (256, 192)) if mode == "I;16" else Image.linear_gradient("L").convert(mode)
    out = shown(picture)

    assert out.format == "PNG"
    assert (out.mode, out.size) == (picture.mode, picture.size)
    assert out.tobytes() == picture.tobytes()


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "HSV", "LAB", "RGBX", "RGBa", "PA"])
def test_a_picture_of_other_colours_goes_out_in_red_green_and_blue(mode: str) -> None:
    """And without the profile of the colours it had."""
    picture = Image.new("RGBA" if mode in {"RGBa", "PA"} else "RGB", (256, 192), "orange").convert(mode)
    picture.info["icc_profile"] = b"of ink"
    out = shown(picture)

    assert out.format == "PNG"
    assert out.mode == ("RGBA" if mode in {"RGBa", "PA"} else "RGB")
    assert "icc_profile" not in out.info


@pytest.mark.parametrize("mode", ["I", "F", "I;16L"])
def test_a_picture_of_numbers_is_refused_with_advice(mode: str) -> None:
    """Nobody knows which is the brightest."""
    assert "scale them to 0 to 255" in refused(Image.new(mode, (256, 192)))


def test_a_photograph_goes_out_as_a_photograph() -> None:
    """As PNG it would be ten times as large; of one that was changed to hold what a JPEG cannot, all is kept."""
    picture = Image.open(io.BytesIO(jpeg()))
    ink = io.BytesIO()
    Image.new("CMYK", (256, 192)).save(ink, "JPEG")
    ink.seek(0)

    assert shown(picture).format == "JPEG"
    assert (shown(Image.open(ink)).format, shown(Image.open(ink)).mode) == ("JPEG", "RGB")
    picture.putalpha(9)
    assert (shown(picture).format, shown(picture).mode) == ("PNG", "RGBA")
    for other in (webp(), PNG):
        assert shown(Image.open(io.BytesIO(other))).format == "PNG"
    assert shown(picture.crop((0, 0, 200, 150))).format == "PNG"


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_turned_photograph_goes_out_upright(orientation: int) -> None:
    """Saving it drops what the camera wrote; and the caller's own stays as it was."""
    picture = Image.open(io.BytesIO(jpeg(256, 192, orientation=orientation)))
    out = shown(picture)

    assert out.size == ImageOps.exif_transpose(picture).size
    assert 0x0112 not in out.getexif()
    assert picture.getexif()[0x0112] == orientation
    assert picture.size == (256, 192)


@pytest.mark.parametrize(
    "maker",
    [
        pytest.param(struct.pack(">HHLL", 0x010F, 12, 1, 8), id="a name that is a number"),
        pytest.param(struct.pack(">HHLL", 0x8769, 4, 1, 0xFFFFFF), id="a part that is not there"),
        pytest.param(struct.pack(">HHLL", 0x010F, 2, 0xFFFFFF, 0xFFFFFF), id="a name without end"),
        pytest.param(struct.pack(">HHLL", 0x829A, 2, 4, 0x41424300), id="a time in letters"),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")  # of Pillow, about the notes
def test_a_turned_photograph_with_odd_notes_of_its_camera_goes_out_upright(maker: bytes) -> None:
    """Viewers skip what they do not understand, and so do we."""
    turned = struct.pack(">HHLHH", 0x0112, 3, 1, 6, 0)
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\2" + turned + maker + bytes(4)
    photograph = jpeg()[:2] + segment(b"\xe1", exif) + jpeg()[2:]

    assert shown(Image.open(io.BytesIO(photograph))).size == (192, 256)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_what_goes_out_upright_does_not_say_that_it_is_to_be_turned(kind: str) -> None:
    """Or whoever displays it would turn it once more."""
    turned = Image.Exif()
    turned[0x0112] = 6
    out = io.BytesIO()
    Image.new("RGB", (256, 192)).save(out, kind, exif=turned)

    assert 0x0112 not in shown(Image.open(out)).getexif()
    assert shown(Image.open(out)).size == (192, 256)


def test_a_picture_that_was_cut_short_is_refused() -> None:
    """Pillow notices when it is read, which is late."""
    picture = Image.open(io.BytesIO(jpeg()[:-300]))

    assert "cannot be read" in refused(picture)


def test_a_picture_that_several_threads_send_is_loaded_once() -> None:
    """It reads its file when it is first needed, which two cannot do at a time."""
    picture = Image.open(io.BytesIO(png(size=2_000_000)))
    together = threading.Barrier(8)

    def read(_: int) -> bytes:
        together.wait()
        return content(picture)

    with ThreadPoolExecutor(8) as pool:
        assert len({*pool.map(read, range(8))}) == 1


def test_a_picture_follows_the_rules_like_any_other() -> None:
    """Of its place, and of what it shows."""
    with pytest.raises(ValidationError, match=r"videos\[0\].*not image/png"):
        resolved({"videos": [Image.new("RGB", (9, 9))]})


# numpy


_sizes = st.tuples(st.integers(1, 9), st.integers(1, 9))


@given(
    array=st.sampled_from([(), (1,), (3,), (4,)]).flatmap(
        lambda depth: arrays.arrays(np.uint8, _sizes.map(lambda size: (*size, *depth)))
    )
)
def test_an_array_goes_out_as_a_png_of_its_pixels(array: np.ndarray[Any, np.dtype[np.uint8]]) -> None:
    """Grey, with colours, and with colours and transparency, as Pillow reads it."""
    read = np.asarray(shown(array))

    assert shown(array).mode == {2: "L", 1: "L", 3: "RGB", 4: "RGBA"}[array.shape[2] if array.ndim == 3 else 2]
    assert np.array_equal(read, array if array.ndim == 2 or array.shape[2] > 1 else array[:, :, 0])


def test_an_array_may_lie_in_memory_in_any_way() -> None:
    """Turned, mirrored, cut out, read-only, and in columns."""
    whole = np.arange(200 * 300 * 3, dtype=np.uint8).reshape(200, 300, 3)
    fixed = whole.copy()
    fixed.flags.writeable = False

    for array in (whole[::-1, ::-2], whole.swapaxes(0, 1), whole[10:90, 20:80, ::-1], fixed, np.asfortranarray(whole)):
        assert np.array_equal(np.asarray(shown(array)), array)


def test_an_array_is_in_memory_once_more_at_most() -> None:
    """As what is compressed, and not as a copy of that, which the event loop would have to wait for."""
    array = np.zeros((1000, 2000, 3), np.uint8)

    tracemalloc.start()
    try:
        content(array)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert most < 1.5 * array.nbytes


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.zeros((200, 200, 3)), r"\(a \* 255\)\.astype\('uint8'\)"),
        (np.zeros((200, 200, 3), np.float32), r"\(a \* 255\)\.astype\('uint8'\)"),
        (np.zeros((200, 200), bool), r"a\.astype\('uint8'\) \* 255"),
        (np.zeros((200, 200), np.uint16), "scaled to 0 to 255"),
        (np.zeros((3, 200, 200), np.uint8), r"\.transpose\(1, 2, 0\)"),
        (np.zeros((1, 200, 200)), r"\.transpose\(1, 2, 0\)"),
        (np.zeros((2, 200, 200, 3), np.uint8), r"array\[0\]"),
        (np.zeros((200, 200, 2), np.uint8), r"\(height, width\)"),
        (np.zeros((0, 200, 3), np.uint8), r"\(height, width\)"),
        (np.zeros(200, np.uint8), r"\(height, width\)"),
        (np.zeros((2, 2), object), "uint8"),
    ],
)
def test_an_array_that_is_no_picture_is_refused_with_what_would_make_it_one(array: object, said: str) -> None:
    """The message shows its shape and type, and none of its numbers."""
    with pytest.raises(ValidationError, match=said):
        resolved({"images": [array]})


def test_a_number_of_numpys_is_no_picture() -> None:
    """Where JSON takes it, it stays a number, and where a picture belongs it is refused."""
    assert resolved({"seconds": np.float64(2.5), "deep": [np.float64(1)]}) == {"seconds": 2.5, "deep": [1.0]}
    number: Any = np.uint8(7)
    with pytest.raises(ValidationError, match=r"images\[0\] must be a URL, a path"):
        ImageToVideo(model="m", images=[number])


def test_an_array_where_a_list_belongs_is_refused() -> None:
    """It could be taken for a list of its rows; as could a file for one of its lines."""
    for single in (np.zeros((200, 200, 3), np.uint8), io.BytesIO(PNG), memoryview(PNG), Image.new("L", (200, 200))):
        one: Any = single
        with pytest.raises(ValidationError, match=r"images takes a list, images=\[\.\.\.\], not <"):
            ImageToVideo(model="m", images=one)


class Foreign:
    """Has the interface of an array, and is none that is known."""

    @property
    def __array_interface__(self) -> dict[str, Any]:
        raise AssertionError("a picture makes a copy of itself for this")


def test_pixels_of_other_libraries_are_refused_unread() -> None:
    """With the way to make an array of them."""
    assert "numpy.asarray()" in refused(Foreign())


def test_a_request_with_pictures_in_it_can_be_pickled() -> None:
    """As it goes to another process."""
    request = ImageToVideo(model="m", images=[np.zeros((200, 200), np.uint8)])

    assert content(pickle.loads(pickle.dumps(request)).images[0]) == content(request.images[0])


@pytest.mark.parametrize(
    "make",
    [
        lambda array: ImageToVideo(model="m", images=[array]),
        lambda array: ImageToVideo(model="m", images=["fox.png"], extra={"a": [array]}),
        lambda array: ReferenceToVideo(model="m", prompt="@fox", subjects=[Subject(name="fox", images=[array])]),
        lambda array: RawRequest("extend", {"a": {"b": (array, 1)}}),
    ],
)
def test_requests_with_arrays_in_them_can_be_compared(make: Callable[[Any], Request]) -> None:
    """Equal arrays are equal, of whatever shape; one that is of another shape or type, or no array, is not."""
    array = np.arange(12, dtype=np.uint8).reshape(3, 4)
    others = [array + 1, array.reshape(4, 3), array.astype(np.int8), array.tobytes(), "fox.png"]

    assert make(array) == make(array.copy())
    assert make(array) in [make(others[0]), make(array)]
    assert make(array) not in [make(other) for other in others]


_ALONE = """
import io, sys
from vidu_async import ImageToVideo, RawRequest, ValidationError
from vidu_async.media import resolved
request = ImageToVideo(model="m", images=[open(sys.argv[1], "rb")])
resolved(request.to_wire())
for name in sys.argv[2:]:
    sys.modules[name] = None  # as if it were not installed
repr(request)
resolved({"images": [bytearray(open(sys.argv[1], "rb").read())], "a": {"b": [1, None]}})
print([name for name in ("PIL", "PIL.Image", "numpy", "aiohttp") if sys.modules.get(name)])
"""


def test_neither_pillow_nor_numpy_is_imported_for_what_is_not_theirs(tmp_path: Path) -> None:
    """Installed or not."""
    (tmp_path / "fox.png").write_bytes(PNG)
    for missing in ([], ["PIL", "PIL.Image", "numpy"]):
        command = [sys.executable, "-c", _ALONE, str(tmp_path / "fox.png"), *missing]
        assert subprocess.run(command, capture_output=True, check=True, text=True).stdout == "[]\n"


_ONLY_NUMPY = """
import sys
sys.modules["PIL"] = None
import numpy
from vidu_async.media import resolved
resolved({"images": [numpy.zeros((200, 200, 3), "uint8")]})
"""


def test_an_array_needs_no_pillow() -> None:
    """It is written by hand."""
    subprocess.run([sys.executable, "-c", _ONLY_NUMPY], check=True)


_FORK = """
import io, os, sys
from vidu_async.in_hand import _turn_of
from vidu_async.media import resolved
file = open(sys.argv[1], "rb")
with _turn_of(file):
    child = os.fork()
    if not child:
        resolved({"images": [file]})
        os._exit(0)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_process_forked_while_a_file_was_read_can_read_its_own(tmp_path: Path) -> None:
    """The thread that had its turn does not exist there, and would never end it."""
    (tmp_path / "fox.png").write_bytes(PNG)

    subprocess.run([sys.executable, "-c", _FORK, str(tmp_path / "fox.png")], check=True, timeout=30)
