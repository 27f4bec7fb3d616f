"""What a file is by its first bytes, never by its name; and what to do with one that Vidu does not take."""

from __future__ import annotations

HEAD = 32
"""Bytes that suffice to tell a picture's, a film's or a sound's kind."""

PICTURES = frozenset({"image/png", "image/jpeg", "image/webp"})
CLIPS = frozenset({"video/mp4", "video/quicktime", "video/x-msvideo"})
"""What Vidu takes. https://platform.vidu.com/docs/image-to-video and https://platform.vidu.com/docs/reference-to-video"""

SUFFIXES = {
    "image/png": ".png",
    "image/jpeg": ".jpg",
    "image/webp": ".webp",
    "image/gif": ".gif",
    "video/mp4": ".mp4",
    "video/quicktime": ".mov",
    "video/x-msvideo": ".avi",
    "video/webm": ".webm",
    "audio/mp4": ".m4a",
    "audio/mpeg": ".mp3",
}

_SIGNATURES = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF8": "image/gif",
    b"II*\0": "image/tiff",
    b"MM\0*": "image/tiff",
    b"8BPS": "image/vnd.adobe.photoshop",
    b"\0\0\0\x0cjP  ": "image/jp2",
    b"\0\0\0\x0cJXL ": "image/jxl",
    b"\xff\x0a": "image/jxl",
    b"FLV\x01": "video/x-flv",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11": "video/x-ms-wmv",
    b"\0\0\x01\0": "image/x-icon",
    b"\0\0\x01\xba": "video/mpeg",
    b"ID3": "audio/mpeg",
    b"\xff\xfb": "audio/mpeg",
    b"\xff\xf3": "audio/mpeg",
    b"\xff\xf2": "audio/mpeg",
    b"OggS": "audio/ogg",
    b"fLaC": "audio/flac",
    b"%PDF-": "application/pdf",
    b"PK\x03\x04": "application/zip",
}
_BRANDS = {
    **dict.fromkeys((b"avif", b"avis"), "image/avif"),
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"tmap"), "image/heic"),
    **dict.fromkeys((b"M4A ", b"M4B "), "audio/mp4"),
    b"crx ": "image/x-canon-cr3",
    b"qt  ": "video/quicktime",
}
_OLD_BOXES = frozenset({b"moov", b"mdat", b"wide", b"free", b"skip"})
"""What a QuickTime file may begin with where it says nothing of itself."""
_RIFF = {b"WEBP": "image/webp", b"AVI ": "video/x-msvideo", b"WAVE": "audio/wav"}

_TEXTS = {
    b"<svg": "image/svg+xml",
    b"<?xml": "text/xml",
    b"<!doctype html": "text/html",
    b"<html": "text/html",
    b"<head": "text/html",
    b"{": "application/json",
    b"data:": "text/plain",
    b"http": "text/plain",
}

_ADVICE = {
    "text/plain": "The text of a URL is given as a str",
    "image/svg+xml": "Draw it as a PNG first",
    "text/html": "A web page was saved in its place, perhaps an error's: fetch it anew",
    "text/xml": "A page was saved in its place, perhaps an error's: fetch it anew",
    "application/json": "An answer was saved in its place, perhaps an error's: fetch it anew",
    "application/pdf": "Draw the page that is meant as a PNG",
}


def kind_of(head: bytes) -> str | None:
    """Return the media type that a file's first bytes show, None if they show none of those known here."""
    if head[4:8] == b"ftyp":
        found = _BRANDS.get(head[8:12], "video/mp4")
        # Of both formats: what it is compatible with tells.
        return "image/avif" if found == "image/heic" and b"avif" in head[16:HEAD] else found
    if head[4:8] in _OLD_BOXES and head[0] < 0x20:  # noqa: PLR2004 - a length; a letter would make it half a gigabyte
        return "video/quicktime"
    if head[:4] == b"RIFF":
        return _RIFF.get(head[8:12])
    if head[:2] == b"BM" and head[6:10] == bytes(4):
        return "image/bmp"
    if head[:4] == b"\x1aE\xdf\xa3":
        return "video/x-matroska" if b"matroska" in head else "video/webm"
    return next((kind for start, kind in _SIGNATURES.items() if head.startswith(start)), None)


def text_of(head: bytes) -> str | None:
    """Name the texts that are taken for pictures most often. It takes more of a file than its first 32 bytes."""
    begun = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    found = next((kind for start, kind in _TEXTS.items() if begun.startswith(start)), None)
    return "image/svg+xml" if found == "text/xml" and b"<svg" in begun else found


def advice(kind: str | None, accepted: frozenset[str]) -> str:
    """Return what to do with a file of a kind that is not accepted, as a sentence; "" if nothing can be said."""
    said = _ADVICE.get(kind or "", "")
    if kind in PICTURES | CLIPS:
        said = "Pictures go into images" if kind in PICTURES else "Clips go into videos"
    elif not said and (kind or "").startswith(("image/", "video/")):
        is_picture = accepted & PICTURES and (kind or "").startswith("image/")
        reader = "Pillow and pillow-heif" if kind == "image/heic" else "Pillow"
        into, tool = ("PNG or JPEG", reader) if is_picture else ("MP4", "ffmpeg")
        said = f"Convert it to {into}, for example with {tool}" if is_picture or accepted & CLIPS else ""
    return f". {said}" if said else ""
