"""How many pictures, clips and subjects a request may have, by model. https://platform.vidu.com/docs/reference-to-video.

The files of a stored subject are not sent, so pictures and clips of its own do not count together.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from vidu_async.protocol import catalog
from vidu_async.protocol.catalog import CATALOG
from vidu_async.protocol.checks import fault, placed
from vidu_async.protocol.errors import ValidationError
from vidu_async.protocol.validation.asked import Asked, Found, counted, span
from vidu_async.protocol.validation.effects import NEEDS_AUDIO, hears
from vidu_async.protocol.validation.links import doubtful_links


def check_subject(given: Mapping[str, Any]) -> None:
    """Raise `ValidationError` for too many files of one subject."""
    for name, most in (("images", catalog.FILES_OF_A_SUBJECT), ("videos", catalog.CLIPS_OF_A_SUBJECT)):
        for error in counted(name, len(given.get(name, ())), 0, most):
            raise error


def subject_alone(given: Mapping[str, Any]) -> Found:
    """Doubt what the newest page does not have of a subject, whatever the model."""
    moving = len(given.get("videos", ()))
    if moving and "server_id" not in given:
        most = catalog.FILES_OF_A_SUBJECT - moving
        yield from counted("images", len(given.get("images", ())), 0, most, " beside a clip on the newest page")
    for name in ("images", "videos"):
        yield from doubtful_links(name, given.get(name, ()))
    if given.get("name_key") == "id":
        said = "'id' is on older pages and in examples only; the newest page has 'name'"
        yield fault("name_key", said, "id", ("name",))


def images(asked: Asked) -> Found:
    """Refuse too few or too many pictures."""
    least, most = CATALOG[asked.endpoint].images
    where = ""
    if asked.row is not None and asked.row.takes_clips and asked.count("videos"):
        most, where = catalog.PICTURES_BESIDE_CLIPS, " beside videos"
    yield from counted("images", asked.count("images"), least, most, where)


def links(asked: Asked) -> Found:
    """Doubt links that Vidu may not be able to fetch."""
    for name in ("images", "videos"):
        yield from doubtful_links(name, asked.given.get(name, ()))


def few_images(asked: Asked) -> Found:
    """Doubt that a model does without a picture."""
    if asked.row is not None and asked.count("images") < asked.row.fewest_images:
        fewest, (_, most) = asked.row.fewest_images, CATALOG[asked.endpoint].images
        said = f"{asked.place} takes {fewest} to {most}; only an example has none"
        yield fault("images", said, asked.count("images"), range(fewest, most + 1))


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
    return fault(name, f"needs {span(models)}, not {asked.model!r}", value)


def _subjects(asked: Asked) -> Iterator[tuple[int, Any]]:
    return enumerate(asked.given.get("subjects", ()))


def subject_counts(asked: Asked) -> Found:
    """Refuse too many subjects, or too many pictures in them."""
    subjects = [subject for _, subject in _subjects(asked)]
    yield from counted("subjects", len(subjects), 0, catalog.MOST_SUBJECTS)
    pictures = sum(len(subject.images) for subject in subjects if not subject.server_id)
    yield from counted("subjects", pictures, 0, catalog.MOST_PICTURES_OF_SUBJECTS, " images in all")


def moving_subjects(asked: Asked) -> Found:
    """Doubt too many subjects of either kind, where the newest page counts those with clips apart."""
    if asked.row is None or not asked.row.takes_clips:
        return
    subjects = [subject for _, subject in _subjects(asked)]
    moving = [subject for subject in subjects if subject.videos]
    temporary = [subject for subject in moving if not subject.server_id]
    for found, most, kind in (
        (len(subjects) - len(moving), catalog.STILL_SUBJECTS, "without clips"),
        (len(moving), catalog.MOVING_SUBJECTS, "with clips"),
        (len(temporary), catalog.TEMPORARY_MOVING_SUBJECTS, "with clips that are not stored"),
    ):
        yield from counted("subjects", found, 0, most, f" {kind} {asked.place} on the newest page")


def auto_subjects(asked: Asked) -> Found:
    """Doubt the search for subjects in a body that has none."""
    if not asked.count("subjects") and asked.given.get("auto_subjects"):
        files = asked.count("images") or asked.count("videos")
        beside = "not beside images and videos" if files else "and none are given"
        yield asked.wrong("auto_subjects", f"auto_subjects is listed beside subjects only, {beside}")


def subject_doubts(asked: Asked) -> Found:
    """Doubt subjects where the newest page has none, and what each one brings along."""
    if asked.row is not None and asked.count("subjects") and not asked.row.takes_subjects:
        said = f"subjects are not offered with {asked.model} at {asked.endpoint} on the newest page"
        yield asked.wrong("subjects", said)
    for place, subject in _subjects(asked):
        for doubt in (*subject.doubts(), *_of_subject(asked, subject)):
            yield placed(doubt, f"subjects[{place}]")


def _of_subject(asked: Asked, subject: Any) -> Found:  # noqa: ANN401 - a Subject, one layer up
    row = asked.row
    if row is None:
        return
    if subject.videos and subject.server_id and not row.takes_clips:  # the clip is not sent, but meant
        yield _no_clips(asked, "videos", subject.videos)
    if subject.voice_id and not row.takes_voices:
        yield fault("voice_id", f"has no effect with {asked.model}", subject.voice_id)
    elif subject.voice_id and not hears(asked, row):
        yield fault("voice_id", NEEDS_AUDIO, subject.voice_id)
