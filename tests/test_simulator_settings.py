"""Which settings of the simulated service are refused, and what is said of them."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest

from vidu_async.testing import DROP, Faults, Simulator


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("time_scale", 0, "a finite number above 0"),
        ("time_scale", float("nan"), "a finite number above 0"),
        ("time_scale", float("inf"), "a finite number above 0"),
        ("time_scale", "2", "a finite number above 0"),
        ("concurrency", 0, "a whole number from 1 on"),
        ("concurrency", 1.5, "a whole number from 1 on"),
        ("concurrency", True, "a whole number from 1 on"),
        ("credits", -5, "a whole number from 0 on"),
        ("host", None, "text"),
        ("port", 65_536, "a whole number from 0 to 65535"),
        ("api_key", None, "text"),
        ("link_life", 0.5, "a whole number from 0 to 86400"),
        ("link_life", -1, "a whole number from 0 to 86400"),
        ("link_life", 100_000, "a whole number from 0 to 86400"),
        ("query_lag", -1, "a number of seconds from 0 on"),
        ("list_lag", float("nan"), "a number of seconds from 0 on"),
        ("lists", "no", "True or False"),
        ("faults", {}, "a Faults"),
        ("throttle", 5, "a Throttle"),
        ("ways", "deepwl", "a Gateway (the name of a dialect goes to dialect)"),
        ("intercept", DROP, "a function"),
        ("on_change", None, "a function"),
        ("fails", "AuditFailed", "a function"),
        ("new_id", "fox", "a function"),
    ],
)
def test_a_setting_that_cannot_work_is_refused(name: str, value: object, wanted: str) -> None:
    """When the object is made: with its name, its value and what would do."""
    options: dict[str, Any] = {name: value}
    with pytest.raises(ValueError, match=re.escape(f"{name} must be {wanted}, not {value!r}")):
        Simulator(**options)


@pytest.mark.parametrize(("name", "value"), [("faults", {}), ("intercept", DROP)])
def test_a_setting_that_is_changed_is_checked_again(name: str, value: object) -> None:
    """What was set before stays."""
    vidu = Simulator()
    before = getattr(vidu, name)
    with pytest.raises(ValueError, match=f"{name} must be a"):
        setattr(vidu, name, value)
    assert getattr(vidu, name) is before


@pytest.mark.parametrize(
    ("dialect", "hint"), [("octopus", "did you mean 'octopusx'?"), ("nope", "there are vidu, vidu-com, aiid, ")]
)
def test_an_unknown_dialect_is_refused(dialect: str, hint: str) -> None:
    """The one that was meant is named or, where none is near, all of them."""
    with pytest.raises(ValueError, match=re.escape(f"dialect {dialect!r} is unknown: {hint}")):
        Simulator(dialect=dialect)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"failures": {"AuditFaild": 0.1}}, "err_code 'AuditFaild' is unknown: did you mean 'AuditFailed'?"),
        ({"refusals": {"QuotaExceded": 0.1}}, "reason 'QuotaExceded' is unknown: did you mean 'QuotaExceeded'?"),
        ({"refusals": {200: 0.1}}, "a key of refusals must be a reason or an int status from 400 to 599, not 200"),
        ({"refusals": {600: 0.1}}, "a key of refusals must be a reason or an int status from 400 to 599, not 600"),
        ({"refusals": {404.0: 1}}, "a key of refusals must be a reason or an int status from 400 to 599, not 404.0"),
        ({"refusals": {"502": 0.1}}, "a key of refusals must be a reason or an int status from 400 to 599, not '502'"),
        ({"failures": None}, "failures must be a mapping of shares, not None"),
        ({"failures": {"AuditFailed": "0.1"}}, "AuditFailed must be a share from 0 to 1, not '0.1'"),
        ({"slow": "1"}, "slow must be a number of seconds from 0 on, not '1'"),
        ({"on": "creation"}, "on 'creation' is unknown: did you mean 'creations'?"),
        ({"cuts": 1.5}, "cuts must be a share from 0 to 1, not 1.5"),
        ({"drops_after": float("nan")}, "drops_after must be a share from 0 to 1, not nan"),
        (
            {"refusals": {502: 0.6}, "drops_before": 0.6},
            "the shares of 502, drops_before, .* not add up to more than 1",
        ),
        ({"failures": {"AuditFailed": 0.6, "NotFound": 0.6}}, "AuditFailed, NotFound must not add up to more than 1"),
        ({"slow": -1}, "slow must be a number of seconds from 0 on, not -1"),
        ({"slow": float("inf")}, "slow must be a number of seconds from 0 on, not inf"),
    ],
)
def test_faults_that_cannot_be_are_refused(options: dict[str, Any], message: str) -> None:
    """With the value, and the name that was meant."""
    with pytest.raises(ValueError, match=message):
        Faults(**options)


def test_shares_may_add_up_to_one_in_spite_of_rounding() -> None:
    """One, three and six tenths, multiplied out, are a little more than one."""
    shares = Faults(failures={"AuditFailed": 0.1, "NotFound": 3 * 0.1, "Unknown": 6 * 0.1}).failures
    assert math.fsum(shares.values()) > 1
