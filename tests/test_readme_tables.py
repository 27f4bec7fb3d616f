"""What the README says of refusals and gateways is what the code does."""

from __future__ import annotations

import readme_tables

from vidu_async.protocol.reasons import REASONS


def test_the_tables_of_the_readme_are_those_of_the_code() -> None:
    """`python tests/readme_tables.py` writes them anew."""
    text = readme_tables.README.read_text("utf-8")

    assert readme_tables.updated(text) == text


def test_every_documented_reason_is_in_the_table() -> None:
    """With the status it comes with, and what to do."""
    table = readme_tables.reasons()

    assert [word for word in REASONS if f"`{word}`" not in table] == []
