"""What a picture or clip is, told from its headers: its kind, its size as displayed, whether it is whole."""

from __future__ import annotations

import contextlib
import io
import os
import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pictures import (
    PNG,
    animated_png,
    animated_webp,
    avi,
    box,
    chunk,
    filling,
    jpeg,
    mov,
    mp4,
    old_mov,
    png,
    segment,
    webp,
)
from PIL import Image

from vidu_async import ImageToVideo, RawRequest, ReferenceToImage, ReferenceToVideo, StartEndToVideo, Subject
from vidu_async.journal import SUBJECTS
from vidu_async.media import Examined, examined, resolved
from vidu_async.pictures import Facts, look
from vidu_async.protocol.errors import ValidationError

LINK = "https://example.com/fox.png"
WHOLE = {"image/png": PNG, "image/jpeg": jpeg(), "image/webp": webp()}
FILMS = {"video/mp4": mp4(), "video/quicktime": mov(), "video/x-msvideo": avi()}
KINDS = [*WHOLE, *FILMS]
REFERENCES = ["reference2video", "reference2image", SUBJECTS]


def facts(content: bytes) -> Facts:
    """Look at bytes."""
    return look(io.BytesIO(content), len(content))


def refused(content: object, endpoint: str = "img2video", field: str = "images") -> ValidationError:
    """Have a picture refused, and return the error."""
    with pytest.raises(ValidationError) as caught:
        examined({field: [content]}, endpoint)
    assert caught.value.paid == "no"
    return caught.value


def taken(*contents: object, endpoint: str = "img2video") -> Examined:
    """Have pictures accepted."""
    return examined({"images": list(contents)}, endpoint)


# What is seen


@pytest.mark.parametrize("kind", WHOLE)
def test_a_picture_is_seen_with_its_size(kind: str) -> None:
    """In pixels, without decoding it."""
    assert facts(WHOLE[kind]) == Facts(kind, kind, (256, 192))


@pytest.mark.parametrize("kind", FILMS)
def test_a_whole_film_has_no_trouble(kind: str) -> None:
    """Its size in pixels is not looked for."""
    assert facts(FILMS[kind]) == Facts(kind, kind)


def test_a_film_from_before_files_said_what_they_are_is_quicktime() -> None:
    """It begins with whichever box is its first."""
    assert facts(old_mov()) == Facts("video/quicktime", "video/quicktime")
    for name in (b"wide", b"free", b"skip"):
        assert facts(box(name, b"") + old_mov()).kind == "video/quicktime"


@pytest.mark.parametrize(
    "tell",
    [
        pytest.param(lambda content: Image.open(io.BytesIO(content)).size, id="as Pillow reads it"),
        pytest.param(lambda content: facts(content).pixels, id="as it is read here"),
    ],
)
def test_the_test_pictures_are_what_they_are_meant_to_be(tell: object) -> None:
    """Whoever reads them."""
    assert callable(tell)
    for content in (png(300, 200), jpeg(300, 200), webp(300, 200), png(300, 200, 5000), png(300, 200, label=b"x")):
        assert tell(content) == (300, 200)
    assert len(png(size=5000)) == 5000


@pytest.mark.parametrize("orientation", range(1, 9))
def test_e14_a_turned_photograph_has_the_size_it_is_displayed_in(orientation: int) -> None:
    """E14: cameras write how they were held; from 5 on it lies on its side."""
    upright = (192, 256) if orientation > 4 else (256, 192)

    assert facts(jpeg(256, 192, orientation=orientation)).pixels == upright


def test_e14_the_displayed_size_is_what_rules_are_about() -> None:
    """E14: a frame of 1600x900 on its side is unlike one of 1600x900."""
    first, last = jpeg(1600, 900), jpeg(1600, 900, orientation=6)

    assert taken(first, jpeg(1600, 900, orientation=1), endpoint="start-end2video").doubts == ()
    (doubt,) = taken(first, last, endpoint="start-end2video").doubts
    assert "1600x900 and 900x1600" in str(doubt)


def test_e16_a_picture_of_more_pixels_than_fit_into_memory_costs_nothing() -> None:
    """E16: 50,000 x 50,000 is a header; only what may be asked of it is."""
    huge = png(50_000, 50_000)

    assert facts(huge).pixels == (50_000, 50_000)
    taken(huge)


# What is refused by its real name

FOREIGN = {
    "image/gif": b"GIF89a\x80\0\x80\0",
    "image/bmp": b"BM\x8a\0\0\0\0\0\0\0",
    "image/tiff": b"II*\0\x08\0\0\0",
    "image/avif": b"\0\0\0\x20ftypmif1\0\0\0\0mif1avifmiaf",
    "image/heic": b"\0\0\0\x18ftypheic\0\0\0\0",
    "image/jxl": b"\xff\x0a\xfa\x1f",
    "image/svg+xml": b'\n<?xml version="1.0"?>\n<!-- drawn by hand -->\n<svg xmlns="http://www.w3.org/2000/svg">',
    "text/html": b"\xef\xbb\xbf\r\n<!DOCTYPE html><html>",
    "text/xml": b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>',
    "application/json": b'{"error": "not found"}',
    "application/pdf": b"%PDF-1.7\n",
    "application/zip": b"PK\x03\x04\x14\0",
    "video/webm": b"\x1aE\xdf\xa3\x9fB\x86\x81\x01B\xf7\x81\x01B\xf2\x81\x04B\xf3\x81\x08B\x82\x84webm",
    "video/x-matroska": b"\x1aE\xdf\xa3\xa3B\x86\x81\x01B\xf7\x81\x01B\xf2\x81\x04B\xf3\x81\x08B\x82\x88matroska",
    "audio/mpeg": b"ID3\x04\0\0\0\0\0\0",
    "audio/wav": b"RIFF\x24\0\0\0WAVEfmt ",
    "text/plain": b"data:image/png;base64,iVBORw0KGgo",
}


@pytest.mark.parametrize("kind", FOREIGN)
@pytest.mark.parametrize("field", ["images", "videos"])
def test_e12_what_is_of_another_kind_is_refused_by_its_real_name(tmp_path: Path, kind: str, field: str) -> None:
    """E12, E15: whatever it is called; and the message names the file."""
    path = tmp_path / "fox.png"
    path.write_bytes(FOREIGN[kind])

    for given_as in (path, FOREIGN[kind]):
        error = refused(given_as, field=field)
        assert f", not {kind}" in str(error)
        assert error.field == f"{field}[0]"
    assert "fox.png" in str(refused(path, field=field))


@pytest.mark.parametrize(
    ("kind", "advice"),
    [
        *((f"image/{name}", "Convert it to PNG or JPEG, for example with Pillow") for name in ("gif", "bmp", "tiff")),
        *((f"image/{name}", "Convert it to PNG or JPEG, for example with Pillow") for name in ("avif", "heic")),
        ("text/html", "A web page was saved in its place"),
        ("application/json", "An answer was saved in its place"),
        ("text/plain", "given as a str"),
    ],
)
def test_e12_a_refusal_says_what_to_do(kind: str, advice: str) -> None:
    """E12: most can be converted, and some were never pictures."""
    assert advice in str(refused(FOREIGN[kind]))


def test_e12_films_and_pictures_in_each_others_place_are_told_where_they_belong() -> None:
    """E12: and a film that is not taken is converted to one that is."""
    assert "Clips go into videos" in str(refused(mp4()))
    assert "Pictures go into images" in str(refused(PNG, field="videos"))
    assert "Convert it to MP4" in str(refused(FOREIGN["video/webm"], field="videos"))


# What is not whole


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 1.0])
def test_e15_what_is_cut_short_is_refused(tmp_path: Path, kind: str, share: float) -> None:
    """E15: wherever it ends, as a file and as bytes; a download that broke is the commonest."""
    whole = {**WHOLE, **FILMS}[kind]
    path = tmp_path / "fox"
    path.write_bytes(whole[: int(len(whole) * share) - 1])
    field = "images" if kind in WHOLE else "videos"

    for given_as in (path, path.read_bytes()):
        error = refused(given_as, field=field)
        assert "cut short" in str(error)
        assert kind in str(error)


@pytest.mark.parametrize("content", [b"", b"\x89", b"\xff\xd8", b"RIFF", b"\0\0\0\x18ftyp"])
def test_e15_a_file_of_a_few_bytes_is_refused(tmp_path: Path, content: bytes) -> None:
    """E15: as is one of none."""
    path = tmp_path / "fox.png"
    path.write_bytes(content)

    assert ("an empty file" in str(refused(path))) is (content == b"")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (png()[:33] + chunk(b"IEND", b""), "holds no picture"),
        (png()[:33] + b"<html>" + png()[33:], "no chunk of a PNG"),
        (png()[:8] + png()[33:], "no chunk of a PNG"),
        (png(0, 100), "0x100 pixels"),
        (png()[:33] + struct.pack(">I4s", 2**32 - 1, b"IDAT") + bytes(90), "within its chunk IDAT"),
        (b"\xff\xd8\xff\xd9", "holds no picture"),
        (b"\xff\xd8" + segment(b"\xe1", b"Exif\0\0") + segment(b"\xda", bytes(10)) + b"\xff\xd9", "holds no picture"),
        (b"\xff\xd8\xff\xe0\xff\xff" + bytes(90), "cut short"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF" + bytes(200_000), "no segment of a JPEG"),
        (b"\xff\xd8\xff" + b"\xff" * 300_000, "cut short|more than"),
        (b"RIFF\x18\0\0\0WEBPJUNK" + bytes(16), "holds no picture"),
        (box(b"ftyp", b"isom") + box(b"free", b"") * 300_000, "more than 200000 parts"),
        (box(b"ftyp", b"isom") + box(b"mdat", bytes(90)), "moov"),
        (box(b"ftyp", b"isom") + box(b"moov", b"") + bytes(7), "mdat"),
        (box(b"ftyp", b"isom") + struct.pack(">I4s", 3, b"moov"), "3 bytes long"),
        (box(b"ftyp", b"isom") + struct.pack(">I4sQ", 1, b"moov", 9), "9 bytes long"),
        (box(b"ftyp", b"isom") + struct.pack(">I4sQ", 1, b"moov", 2**63), "within its box moov"),
        (box(b"ftyp", b"isom") + b"\0\0\0\x20\xff\xfe\xfd\xfc" + bytes(90), "no box of a film"),
    ],
)
def test_e15_what_is_damaged_is_refused_with_what_is_wrong(content: bytes, said: str) -> None:
    """E15: lengths that lead nowhere, parts without end, and headers without a picture."""
    field = "videos" if content[4:8] == b"ftyp" else "images"

    with pytest.raises(ValidationError, match=f"{said}.*Fetch or make it anew"):
        resolved({field: [content]})


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(PNG + b"notes of an editor", id="a PNG with something behind it"),
        pytest.param(jpeg(after=mp4()), id="a moving photograph"),
        pytest.param(jpeg(after=bytes(1_000_000)), id="a JPEG with a lot behind it"),
        pytest.param(jpeg()[:20] + b"\xff" * 9 + jpeg()[20:], id="a JPEG with filling between its segments"),
        pytest.param(webp() + bytes(9), id="a WebP with something behind it"),
    ],
)
def test_what_decoders_read_is_taken(content: bytes) -> None:
    """Programs leave notes behind pictures and between their parts. Pillow opens every one of these."""
    Image.open(io.BytesIO(content)).load()

    taken(content)


def test_a_jpeg_is_taken_as_cameras_write_it() -> None:
    """Some leave bytes between its segments that belong to none, or marks of no length; browsers skip both."""
    for between in (b"\0" * 9, b"\xff\x01", b"\xff\xd0\0"):
        assert taken(jpeg()[:20] + between + jpeg()[20:]).doubts == ()


def test_a_header_too_odd_to_tell_a_size_is_no_reason_to_refuse() -> None:
    """The server may read on where we stop, and not every reader of headers skips what decoders skip."""
    odd = b"\xff\xd8" + segment(b"\xc0", b"\x08") + segment(b"\xda", bytes(10)) + b"\xff\xd9"

    assert not facts(odd).trouble
    assert facts(jpeg()[:20] + b"\xff\x01" + jpeg()[20:]).pixels in {None, (256, 192)}


def test_the_end_of_a_jpeg_is_found_across_two_blocks() -> None:
    """What is behind it puts its two bytes on either side of where a block begins."""
    for length in range(65_530, 65_540):
        taken(jpeg(after=bytes(length)))


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(mp4() + bytes(5), id="a few zeros at the end"),
        pytest.param(mp4() + b"\0\0\0\x20\xff\xfe\xfd\xfc", id="a camera's own notes at the end"),
        pytest.param(mp4() + b"\0\0\0\5" + bytes(60) + b"8db42d69", id="such notes that begin with a small number"),
        pytest.param(mp4() + b"\0\0\0\1\xff\xff\xff\xff" + bytes(8), id="such notes that begin with a one"),
        pytest.param(mp4() + b"TAG" + b"x" * 125, id="notes in letters at the end"),
        pytest.param(box(b"ftyp", b"isom") + box(b"moov", b"") + struct.pack(">I4s", 0, b"mdat") + bytes(9), id="open"),
        pytest.param(
            box(b"ftyp", b"isom") + struct.pack(">I4sQ", 1, b"mdat", 20) + bytes(4) + box(b"moov", b""), id="large"
        ),
    ],
)
def test_films_as_recorders_write_them_are_taken(content: bytes) -> None:
    """A box may take the rest of the file, or have a length of eight bytes; what is behind the film is no matter."""
    resolved({"videos": [content]})


def test_an_avi_that_was_written_into_a_pipe_is_taken() -> None:
    """Nobody could go back to its beginning and put its length in; players do without."""
    resolved({"videos": [avi()[:4] + b"\xff\xff\xff\xff" + avi()[8:]]})


@pytest.mark.parametrize("name", [b"moof", b"mdat", b"moov"])
def test_a_film_in_fragments_of_which_one_is_cut_is_cut_short(name: bytes) -> None:
    """Whatever came before it: there is more of the film than what is there."""
    with pytest.raises(ValidationError, match=f"within its box {name.decode()}"):
        resolved({"videos": [mp4() + box(name, bytes(90))[:-1]]})


_heads = st.sampled_from([whole[:length] for whole in (*WHOLE.values(), *FILMS.values()) for length in (12, 40, 200)])


@given(content=st.binary(max_size=400) | st.builds(bytes.__add__, _heads, st.binary(max_size=400)))
def test_any_bytes_are_taken_or_refused(content: bytes) -> None:
    """Nothing else comes of the most hostile file, neither as a picture nor as a clip."""
    for field in ("images", "videos"):
        with contextlib.suppress(ValidationError):
            resolved({field: [content]})


@given(kind=st.sampled_from(KINDS), at=st.integers(0, 300), put=st.binary(min_size=1, max_size=9))
def test_a_picture_written_over_anywhere_is_taken_or_refused(kind: str, at: int, put: bytes) -> None:
    """Lengths become others, and lead anywhere."""
    whole = {**WHOLE, **FILMS}[kind]
    broken = whole[:at] + put + whole[at + len(put) :]

    with contextlib.suppress(ValidationError):
        resolved({"images" if kind in WHOLE else "videos": [broken]})


# What moves


@pytest.mark.parametrize("content", [animated_png(), animated_webp()], ids=["APNG", "WebP"])
def test_e13_an_animated_picture_is_in_doubt(content: bytes) -> None:
    """E13: no page says which of its pictures is used."""
    (doubt,) = taken(content).doubts

    assert "animated" in str(doubt)
    assert doubt.field == "images[0]"


def test_e13_a_still_picture_is_in_no_doubt() -> None:
    """E13: also a WebP with the header of those that may move, and a PNG that says so too late."""
    out = io.BytesIO()
    Image.new("RGBA", (256, 192), (1, 2, 3, 4)).save(out, "WEBP", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0")
    assert out.getvalue()[12:16] == b"VP8X"
    late = PNG[:-12] + chunk(b"acTL", bytes(8)) + PNG[-12:]

    for still in (*WHOLE.values(), out.getvalue(), late):
        assert taken(still).doubts == ()


# Bytes


def test_e09_what_is_larger_than_a_file_may_be_is_refused_unread(tmp_path: Path) -> None:
    """E09: pictures to 50 MB, clips to 100, a subject's to 20; a sparse file of a terabyte is as quick."""
    path = tmp_path / "fox"
    for size in (51 * 2**20, 2**40):
        path.write_bytes(PNG)
        os.truncate(path, size)
        assert refused(path).allowed == (50 * 2**20,)
    path.write_bytes(mp4())
    os.truncate(path, 101 * 2**20)
    assert refused(path, "reference2video", "videos").allowed == (100 * 2**20,)
    os.truncate(path, 20 * 2**20 + 1)
    for body, endpoint in (
        ({"subjects": [{"name": "a", "videos": [path]}]}, "reference2video"),
        ({"name": "a", "videos": [path]}, SUBJECTS),
    ):
        with pytest.raises(ValidationError, match="20971520 bytes.*fox"):
            examined(body, endpoint)


def test_e09_fifteen_megabytes_are_what_one_inline_picture_may_have(tmp_path: Path) -> None:
    """E09: base64 makes twenty of them."""
    path = tmp_path / "fox.png"
    path.write_bytes(png(size=15 * 2**20))
    taken(path)
    path.write_bytes(png(size=15 * 2**20 + 1))

    assert "give links" in str(refused(path))


# Pixels


@pytest.mark.parametrize("endpoint", ["img2video", "start-end2video", *REFERENCES])
@pytest.mark.parametrize("size", [(500, 2001), (2001, 500), (1, 1000)])
def test_e10_a_picture_longer_than_four_to_one_is_refused(endpoint: str, size: tuple[int, int]) -> None:
    """E10: at every endpoint whose page says so, either way round."""
    error = refused(png(*size), endpoint)

    assert f"{size[0]}x{size[1]}" in str(error)


@pytest.mark.parametrize("endpoint", ["img2video", "start-end2video", *REFERENCES])
@pytest.mark.parametrize(("size", "ratio"), [((500, 2000), "1:4"), ((2000, 500), "4:1")])
def test_e10_a_picture_of_exactly_four_to_one_is_in_doubt(endpoint: str, size: tuple[int, int], ratio: str) -> None:
    """E10: "less than 1:4" may mean it or not."""
    (doubt,) = taken(png(*size), endpoint=endpoint).doubts

    assert f"exactly {ratio}" in str(doubt)
    assert doubt.field == "images[0]"


@pytest.mark.parametrize("endpoint", ["img2video", "start-end2video", *REFERENCES])
@pytest.mark.parametrize("size", [(500, 1999), (1999, 500), (400, 400)])
def test_e10_a_picture_just_within_is_in_no_doubt(endpoint: str, size: tuple[int, int]) -> None:
    """E10: nor is a square."""
    assert taken(png(*size), endpoint=endpoint).doubts == ()


@pytest.mark.parametrize("endpoint", REFERENCES)
@pytest.mark.parametrize("size", [(127, 128), (128, 127), (1, 1)])
def test_e11_a_small_picture_is_refused_where_128_is_documented(endpoint: str, size: tuple[int, int]) -> None:
    """E11: of subjects and of what is referred to."""
    error = refused(png(*size), endpoint)

    assert "at least 128x128" in str(error)
    assert error.value == size
    taken(png(128, 128), endpoint=endpoint)


@pytest.mark.parametrize("endpoint", ["img2video", "start-end2video", ""])
def test_e11_a_small_picture_is_taken_where_no_page_says_otherwise(endpoint: str) -> None:
    """E11: the server has the last word."""
    taken(png(32, 32), endpoint=endpoint)


@pytest.mark.parametrize(
    ("first", "last"), [((1920, 1080), (1280, 720)), ((1000, 1000), (1300, 400)), ((400, 1300), (1000, 1000))]
)
def test_e21_frames_that_are_unlike_in_every_way_are_refused(first: tuple[int, int], last: tuple[int, int]) -> None:
    """E21: by their sides and by their pixels; the same proportions are no excuse."""
    with pytest.raises(ValidationError, match="0.8 to 1.25") as caught:
        taken(png(*first), png(*last), endpoint="start-end2video")

    assert (caught.value.field, caught.value.value) == ("images", [first, last])


@pytest.mark.parametrize(
    ("first", "last"),
    [
        pytest.param((1600, 900), (900, 1600), id="as many pixels"),
        pytest.param((1000, 1000), (1200, 1200), id="similar sides"),
    ],
)
def test_e21_frames_that_are_alike_in_one_way_are_in_doubt(first: tuple[int, int], last: tuple[int, int]) -> None:
    """E21: "resolution" may mean either."""
    (doubt,) = taken(png(*first), png(*last), endpoint="start-end2video").doubts

    assert doubt.field == "images"


@pytest.mark.parametrize("last", [(1000, 1000), (1000, 800), (1000, 1250), (800, 1000), (1200, 820)])
def test_e21_frames_that_are_alike_are_in_no_doubt(last: tuple[int, int]) -> None:
    """E21: 0.8 and 1.25 belong to what is alike."""
    assert taken(png(1000, 1000), png(*last), endpoint="start-end2video").doubts == ()


def test_e21_of_a_link_nobody_knows() -> None:
    """E21: both sizes are needed, also that of a data URL will do."""
    assert taken(LINK, png(10, 10), endpoint="start-end2video").doubts == ()
    assert taken(png(1920, 1080), png(500, 500), endpoint="img2video").doubts == ()


# Who asks


def test_a_raw_request_is_asked_for_its_format_only() -> None:
    """Nobody knows what its endpoint takes; but a broken file is none anywhere."""
    body = RawRequest("img2video", {"start_image": png(1, 1000), "images": [animated_png()]}).to_wire()
    assert examined(body, "").doubts == ()

    with pytest.raises(ValidationError, match="cut short"):
        examined(RawRequest("extend", {"image": PNG[:-1]}).to_wire(), "")


@pytest.mark.parametrize(
    "request_",
    [
        ImageToVideo(model="viduq2-pro", images=[png(500, 2001)]),
        StartEndToVideo(model="viduq2-pro", images=[PNG, png(500, 2001)]),
        ReferenceToImage(model="viduq2", prompt="a fox", images=[png(127, 128)]),
        ReferenceToVideo(model="viduq2", prompt="a fox", images=[png(127, 128)]),
        ReferenceToVideo(model="viduq2", prompt="@fox", subjects=[Subject(name="fox", images=[png(127, 128)])]),
    ],
    ids=lambda request: type(request).__name__,
)
def test_each_request_has_the_rules_of_its_endpoint(request_: ImageToVideo) -> None:
    """And its refusal names the place."""
    with pytest.raises(ValidationError, match=r"images\[\d\] is \d+x\d+ pixels"):
        examined(request_.to_wire(), request_.endpoint)


def test_the_filling_of_test_pictures_is_no_picture() -> None:
    """What the sizes of this file rest on: it neither compresses to nothing nor repeats within a block."""
    assert len(zlib.compress(filling(10_000))) > 200
    assert len(filling(10_000)) == 10_000
