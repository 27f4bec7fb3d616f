"""How many pictures, clips and subjects a request may have, by model. https://platform.vidu.com/docs/reference-to-video.

The files of a stored subject are not sent, so pictures and clips of its own do not count together.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from vidu_async.protocol import catalog
from vidu_async.protocol.catalog import CATALOG
from vidu_async.protocol.errors import ValidationError
from vidu_async.protocol.validation.asked import Asked, Found, counted, span
from vidu_async.protocol.validation.effects import NEEDS_AUDIO, hears


def check_subject(given: Mapping[str, Any]) -> None:
    """Raise `ValidationError` for too many files of one subject."""
    for error in _files_of_subject(given):
        raise error


def _files_of_subject(given: Mapping[str, Any]) -> Found:
    pictures, moving = len(given.get("images", ())), len(given.get("videos", ()))
    yield from counted("images", pictures, 0, catalog.FILES_OF_A_SUBJECT)
    yield from counted("videos", moving, 0, catalog.CLIPS_OF_A_SUBJECT)
    if moving and "server_id" not in given:
        yield from counted("images", pictures, 0, catalog.FILES_OF_A_SUBJECT - moving, " beside a clip")


def images(asked: Asked) -> Found:
    """Refuse too few or too many pictures."""
    least, most = CATALOG[asked.endpoint].images
    where = ""
    if asked.row is not None and asked.row.takes_clips and asked.count("videos"):
        most, where = catalog.PICTURES_BESIDE_CLIPS, " beside videos"
    yield from counted("images", asked.count("images"), least, most, where)


def few_images(asked: Asked) -> Found:
    """Doubt that a model does without a picture."""
    if asked.row is not None and asked.count("images") < asked.row.fewest_images:
        said = f"images {asked.place} takes {asked.row.fewest_images} to 7; only an example has none"
        yield asked.wrong("images", said)


def form(asked: Asked) -> Found:
    """Refuse both forms of a body at once, and neither."""
    if asked.endpoint != "reference2video":
        return
    files = asked.count("images") or asked.count("videos")
    if asked.count("subjects") and files:
        yield asked.wrong("subjects", "give subjects, or images and videos, never both")
    if not (asked.count("subjects") or files or asked.given.get("auto_subjects")):
        yield asked.wrong("subjects", "subjects, images or videos is required")


def clips(asked: Asked) -> Found:
    """Refuse too many clips, and any with a model that does not look at them."""
    yield from counted("videos", asked.count("videos"), 0, catalog.MOST_CLIPS)
    if asked.row is None or asked.row.takes_clips:
        return
    if asked.count("videos"):
        yield _no_clips(asked, "videos", asked.given["videos"])
    for place, subject in _subjects(asked):
        if subject.videos and not subject.server_id:
            yield _no_clips(asked, f"subjects[{place}].videos", subject.videos)


def _no_clips(asked: Asked, name: str, value: object) -> ValidationError:
    models = [model for model, row in CATALOG[asked.endpoint].models.items() if row.takes_clips]
    return ValidationError(f"{name} needs {span(models)}, not {asked.model!r}", field=name, value=value, allowed=())


def _subjects(asked: Asked) -> Iterator[tuple[int, Any]]:
    return enumerate(asked.given.get("subjects", ()))


def subject_counts(asked: Asked) -> Found:
    """Refuse too many subjects, of either kind where a model counts them apart, or too many pictures in them."""
    subjects = [subject for _, subject in _subjects(asked)]
    yield from counted("subjects", len(subjects), 0, catalog.MOST_SUBJECTS)
    pictures = sum(len(subject.images) for subject in subjects if not subject.server_id)
    yield from counted("subjects", pictures, 0, catalog.MOST_PICTURES_OF_SUBJECTS, " images in all")
    if asked.row is not None and asked.row.takes_clips:
        yield from _moving_subjects(subjects, asked.place)


def _moving_subjects(subjects: Sequence[Any], place: str) -> Found:
    moving = [subject for subject in subjects if subject.videos]
    temporary = [subject for subject in moving if not subject.server_id]
    for found, most, kind in (
        (len(subjects) - len(moving), catalog.STILL_SUBJECTS, "without clips"),
        (len(moving), catalog.MOVING_SUBJECTS, "with clips"),
        (len(temporary), catalog.TEMPORARY_MOVING_SUBJECTS, "with clips that are not stored"),
    ):
        yield from counted("subjects", found, 0, most, f" {kind} {place}")


def auto_subjects(asked: Asked) -> Found:
    """Doubt the search for subjects in a body that has none."""
    if not asked.count("subjects") and asked.given.get("auto_subjects"):
        files = asked.count("images") or asked.count("videos")
        said = "is for subjects, not for images and videos" if files else "comes with 1 to 7 subjects on every page"
        yield asked.wrong("auto_subjects", f"auto_subjects {said}")


def subject_doubts(asked: Asked) -> Found:
    """Doubt subjects where the newest page has none, and what each one brings along."""
    if asked.row is not None and asked.count("subjects") and not asked.row.takes_subjects:
        yield asked.wrong("subjects", f"subjects are nothing {asked.model} takes on the newest page")
    for place, subject in _subjects(asked):
        for doubt in (*subject.doubts(), *_of_subject(asked, subject)):
            where = f"subjects[{place}]."
            yield ValidationError(
                where + doubt.said, field=where + doubt.field, value=doubt.value, allowed=doubt.allowed
            )


def _of_subject(asked: Asked, subject: Any) -> Found:  # noqa: ANN401 - a Subject, one layer up
    row = asked.row
    if row is None:
        return
    if subject.videos and subject.server_id and not row.takes_clips:  # the clip is not sent, but meant
        yield _no_clips(asked, "videos", subject.videos)
    if subject.voice_id and (row.takes_clips or not hears(asked, row)):
        said = f"has no effect with {asked.model}" if row.takes_clips else NEEDS_AUDIO
        yield ValidationError(f"voice_id {said}", field="voice_id", value=subject.voice_id)
