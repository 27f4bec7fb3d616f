"""The simulated service's list of tasks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from asking import FOX, TEXT, Caller, calling

from vidu_async.testing import Simulator


@pytest.fixture
async def caller() -> AsyncIterator[Caller]:
    """A simulator, and somebody who asks it."""
    async with calling() as caller:
        yield caller


@pytest.fixture
async def slow() -> AsyncIterator[Caller]:
    """A simulator in which a test can look at a task before it ends, one task at a time."""
    async with calling(time_scale=1000, concurrency=1) as caller:
        yield caller


async def listed(caller: Caller, *query: tuple[str, str]) -> dict[str, Any]:
    """Return one page."""
    status, answer = await caller.ask("GET", "tasks", params=list(query))
    assert status == 200, answer
    return dict(answer)


async def test_a_list_is_paged_by_token_newest_first(slow: Caller) -> None:
    """Ten to a page unless said otherwise, and the token of the last page is empty."""
    ids = [(await slow.create())["task_id"] for _ in range(12)]
    first = await listed(slow)
    assert [row["id"] for row in first["tasks"]] == ids[:1:-1]
    second = await listed(slow, ("pager.page_token", first["next_page_token"]))
    assert [row["id"] for row in second["tasks"]] == ids[1::-1]
    assert second["next_page_token"] == ""


async def test_a_task_created_between_two_pages_shifts_nothing(slow: Caller) -> None:
    """The second page goes on where the first ended."""
    ids = [(await slow.create())["task_id"] for _ in range(4)]
    first = await listed(slow, ("pager.pagesz", "2"))
    await slow.create()
    token = first["next_page_token"]
    second = await listed(slow, ("pager.pagesz", "2"), ("pager.page_token", token))
    assert [row["id"] for row in second["tasks"]] == [ids[1], ids[0]]


@pytest.mark.parametrize("prefix", ["pager", "paper"])
async def test_both_spellings_of_the_page_parameters_are_taken(slow: Caller, prefix: str) -> None:
    """Pages are counted from 0."""
    ids = [(await slow.create())["task_id"] for _ in range(3)]
    page = await listed(slow, (f"{prefix}.page", "1"), (f"{prefix}.pagesz", "2"))
    assert [row["id"] for row in page["tasks"]] == ids[:1]


async def test_a_list_is_filtered_by_every_name_and_repeated_names_are_alternatives(caller: Caller) -> None:
    """Ids, states, models, resolutions, templates."""
    fox = (await caller.finished())["id"]
    lake = (await caller.finished("text2video", TEXT))["id"]

    async def found(*query: tuple[str, str]) -> set[str]:
        return {row["id"] for row in (await listed(caller, *query))["tasks"]}

    assert await found(("task_ids", fox)) == {fox}
    assert await found(("task_ids", fox), ("task_ids", lake)) == {fox, lake}
    assert await found(("states", "failed")) == set()
    assert await found(("states", "success"), ("model_versions", "q1")) == {fox}
    assert await found(("resolutions", "720p")) == {lake}
    assert await found(("templates", "hugging")) == set()


async def test_a_list_is_bounded_by_time_to_the_nanosecond(slow: Caller) -> None:
    """Both bounds are included."""
    first, second = [await slow.create() for _ in range(2)]

    async def found(*query: tuple[str, str]) -> list[str]:
        return [row["id"] for row in (await listed(slow, *query))["tasks"]]

    assert await found(("created_at.from", second["created_at"])) == [second["task_id"]]
    assert await found(("created_at.to", first["created_at"])) == [first["task_id"]]
    assert await found(("created_at.from", "2020-01-01T00:00:00Z"), ("created_at.to", "2020-01-02")) == []


async def test_a_row_has_no_payload_and_no_err_code(caller: Caller) -> None:
    """A list alone cannot tell two equal requests apart."""
    await caller.finished(body=FOX | {"payload": "row 7"})
    (row,) = (await listed(caller))["tasks"]
    assert set(row) == {
        "id",
        "key_id",
        "type",
        "template",
        "model",
        "prompt",
        "images",
        "duration",
        "resolution",
        "aspect_ratio",
        "state",
        "creations",
        "created_at",
        "credits",
    }
    assert row["creations"][0]["url"].startswith(caller.vidu.url)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("pager.pagesz", "101"),
        ("pager.pagesz", "0"),
        ("pager.page", "-1"),
        ("pager.page_token", "x"),
        ("pager.page_token", "9" * 5000),
        ("created_at.from", "yesterday"),
    ],
)
async def test_a_list_refuses_what_it_cannot_read(caller: Caller, name: str, value: str) -> None:
    """At most a hundred to a page; numbers are numbers, times are RFC 3339."""
    status, answer = await caller.ask("GET", "tasks", params={name: value})
    assert (status, answer["reason"]) == (400, "FieldInvalid")


async def test_a_gateway_without_list_and_cancel_answers_404() -> None:
    """As one that has never heard of them."""
    async with Simulator(lists=False, cancels=False) as vidu, aiohttp.ClientSession() as session:
        caller = Caller(vidu, session)
        task_id = (await caller.create())["task_id"]
        assert (await caller.ask("GET", "tasks"))[0] == 404
        assert (await caller.cancel(task_id))[0] == 404
