"""What Vidu answers, as values."""

from __future__ import annotations

import copy
import pickle
from datetime import UTC, datetime
from typing import Any

import pytest
from attrs.exceptions import FrozenInstanceError
from hypothesis import given
from hypothesis import strategies as st

from vidu_async import Creation, Credits, Task, TaskState, VideoInfo

LINK = "https://files.example/a.mp4"
SIGNED = f"{LINK}?X-Amz-Date=20260120T040153Z&X-Amz-Expires=86400&X-Amz-Signature=s3cret"
CREATED = Task(
    id="7",
    state=TaskState.CREATED,
    type="img2video",
    model="viduq1",
    prompt="a fox",
    credits=80,
    payload="p-1",
    created_at=datetime(2026, 1, 20, tzinfo=UTC),
    duration=5.0,
    resolution="1080p",
    seed=12345,
    off_peak=False,
    state_text="created",
    body=b'{"task_id": "7"}',
)


def test_a_task_ends_as_a_success_or_a_failure_and_in_no_other_state() -> None:
    """A state nobody knows is none to stop at."""
    assert {state for state in TaskState if state.is_terminal} == {TaskState.SUCCESS, TaskState.FAILED}


def test_a_state_is_its_word() -> None:
    """So that it compares and prints like what the API says."""
    assert TaskState("queueing") is TaskState.QUEUEING
    assert f"{TaskState.SUCCESS}" == "success"
    assert {*TaskState} == {"created", "queueing", "processing", "success", "failed", "unknown"}


@pytest.mark.parametrize("value", [CREATED, Creation(task_id="7", url=LINK), VideoInfo(5.0), Credits(80)])
def test_a_value_is_frozen_and_pickles_and_copies(value: Any) -> None:
    """It is what was answered."""
    assert pickle.loads(pickle.dumps(value)) == value
    assert copy.deepcopy(value) == value
    with pytest.raises(FrozenInstanceError):
        setattr(value, next(iter(type(value).__attrs_attrs__)).name, None)


def test_a_pickled_task_keeps_its_whole_answer() -> None:
    """The fields nobody knows as well."""
    assert pickle.loads(pickle.dumps(CREATED)).raw == {"task_id": "7"}


def test_raw_is_a_fresh_copy_each_time() -> None:
    """So that changing it changes no task."""
    CREATED.raw["task_id"] = "8"

    assert CREATED.raw == {"task_id": "7"}


@pytest.mark.parametrize(
    ("state", "err_code", "is_cancelled"),
    [
        (TaskState.FAILED, "UserCancelled", True),
        (TaskState.FAILED, "AuditFailed", False),
        (TaskState.FAILED, None, False),
        (TaskState.SUCCESS, "UserCancelled", False),
        (TaskState.PROCESSING, "UserCancelled", False),
    ],
)
def test_a_cancelled_task_is_a_failure_with_a_code_of_its_own(
    state: TaskState, err_code: str | None, is_cancelled: bool
) -> None:
    """Vidu has no state for it."""
    assert Task(id="7", state=state, err_code=err_code).is_cancelled is is_cancelled


@pytest.mark.parametrize(
    ("creations", "has_result"),
    [
        ((), False),
        ((Creation(task_id="7"),), False),
        ((Creation(task_id="7", cover_url=LINK),), False),
        ((Creation(task_id="7"), Creation(task_id="7", url=LINK)), True),
    ],
)
def test_a_result_is_a_link_to_a_file(creations: tuple[Creation, ...], has_result: bool) -> None:
    """A cover alone is none."""
    assert Task(id="7", state=TaskState.SUCCESS, creations=creations).has_result is has_result


def test_a_later_answer_keeps_what_only_the_earlier_one_told() -> None:
    """A query says less than the creation did."""
    later = Task(id="7", state=TaskState.PROCESSING, credits=40, state_text="processing", body=b'{"id": "7"}')
    merged = later.over(CREATED)

    assert (merged.type, merged.model, merged.prompt, merged.payload) == ("img2video", "viduq1", "a fox", "p-1")
    assert (merged.duration, merged.resolution, merged.seed, merged.off_peak) == (5.0, "1080p", 12345, False)
    assert merged.created_at == CREATED.created_at
    assert (merged.state, merged.state_text, merged.credits) == (TaskState.PROCESSING, "processing", 40)
    assert merged.raw == {"id": "7"}


def test_a_later_answer_stands_by_itself_where_it_says_something() -> None:
    """Zero and False are something."""
    later = Task(id="7", state=TaskState.FAILED, credits=0, off_peak=False, seed=0)
    merged = later.over(Task(id="7", state=TaskState.CREATED, credits=80, off_peak=True, seed=5))

    assert (merged.credits, merged.off_peak, merged.seed) == (0, False, 0)


def test_an_earlier_error_does_not_outlive_its_answer() -> None:
    """What went wrong is for the latest answer to say."""
    earlier = Task(id="7", state=TaskState.FAILED, err_code="Unknown", err_msg="wait")
    merged = Task(id="7", state=TaskState.PROCESSING).over(earlier)

    assert (merged.err_code, merged.err_msg) == (None, None)


def test_a_first_answer_has_nothing_to_be_laid_over() -> None:
    """And stays as it is."""
    assert CREATED.over(None) is CREATED


@pytest.mark.parametrize(
    ("url", "expires_at"),
    [
        (SIGNED, datetime(2026, 1, 21, 4, 1, 53, tzinfo=UTC)),
        (f"{LINK}?X-Amz-Date=20260120T040153Z&X-Amz-Expires=3600", datetime(2026, 1, 20, 5, 1, 53, tzinfo=UTC)),
        (f"{LINK}?Expires=1768881713&Signature=abc", datetime(2026, 1, 20, 4, 1, 53, tzinfo=UTC)),
        (LINK, None),
        (f"{LINK}?X-Amz-Date=20260120T040153Z", None),
        (f"{LINK}?X-Amz-Date=today&X-Amz-Expires=3600", None),
        (f"{LINK}?X-Amz-Date=20260120T040153Z&X-Amz-Expires={'9' * 30}", None),
        (f"{LINK}?Expires=soon", None),
        (f"{LINK}?Expires={'9' * 30}", None),
        ("https://[files.example/a.mp4?Expires=1768881713", None),
        ("https://[files.example", None),
        (None, None),
    ],
)
def test_a_link_says_when_it_expires_or_it_does_not(url: str | None, expires_at: datetime | None) -> None:
    """As S3 and CloudFront sign them."""
    assert Creation(task_id="7", url=url).expires_at == expires_at


@given(url=st.text() | st.text().map(lambda query: f"{LINK}?Expires={query}") | st.text().map("https://{}".format))
def test_no_link_makes_its_expiry_fail(url: str) -> None:
    """A link is whatever a gateway answers."""
    found = Creation(task_id="7", url=url).expires_at

    assert found is None or found.tzinfo is UTC


@pytest.mark.parametrize(
    "value",
    [
        Creation(task_id="7", url=SIGNED, cover_url=SIGNED, watermarked_url=SIGNED),
        Task(
            id="7",
            state=TaskState.SUCCESS,
            body=SIGNED.encode(),
            payload="s3cret",
            creations=(Creation("7", "1", SIGNED),),
        ),
        Credits(5, raw={"url": SIGNED}),
    ],
    ids=["creation", "task", "credits"],
)
def test_a_repr_shows_no_signature(value: object) -> None:
    """Who reads a signed link in a log can open the file."""
    assert "s3cret" not in repr(value)


def test_a_repr_of_a_result_shows_whose_it_is() -> None:
    """The host alone: some gateways' links are not signed, so that their path opens the file."""
    assert "url='https://files.example/...'" in repr(Creation(task_id="7", url=SIGNED))
    assert "https://files.example/..." in repr(Task("7", TaskState.FAILED, err_msg=f"why? see {LINK}"))
