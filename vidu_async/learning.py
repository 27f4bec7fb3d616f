"""When to look at a task again. Pure: it is told how long a task has been waited for and answers in seconds.

A look costs a request, and a late look costs whoever waits. If a task ends with hazard h (the chance of an end per
second, given that it has not come yet), d looks a second cost d requests and a delay of h / 2d: the sum is least where
d is proportional to the square root of h. So a `Learner` learns how long tasks of a kind take, as a log-normal
distribution, and looks with that density, within the bounds of `Polling`. The rest is caution where the distribution
says little: before the first answers, in a queue, far behind all that was seen, while a callback is expected.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from attrs import astuple, define, field, fields

from vidu_async.polling import Kind, Polling, Waiting
from vidu_async.protocol.checks import is_positive
from vidu_async.protocol.models import TaskState

_PACE = 0.145
"""From look to look, in roots of the bounds' geometric mean over roots of the hazard. With the defaults, a task of
about a minute is looked at about 20 times and seen finished a second late."""
_SHARE_OF_AGE = 0.05
"""Of tasks about which nothing is known: one half a minute old may be seen finished up to 1.5 s late."""
_OFF_PEAK_STRETCH = 3.0
"""An off-peak task takes up to 48 hours: with the default bounds, a look a minute is enough."""
_CALLED_FIRST, _CALLED_GROWTH, _CALLED_STRETCH = 5.0, 0.5, 3.0
"""If a callback is expected: after 5 s with the default bounds, then half as long again each time, up to a minute."""
_CALLED_SILENCE = 2.0  # medians; then the callback is taken for lost

_QUEUED = (TaskState.CREATED, TaskState.QUEUEING)
_SHARE_OF_SPREAD = 1.5
"""In a queue, looks are this many standard deviations of the time to come apart: knowing the beginning better is worth
little, as the end is known no better."""
_EARLY = 1.65  # standard deviations: the quickest in twenty should not end while nobody knows that it began

_PRIOR = 13.4
"""The median that is expected of the unknown, in geometric means of the bounds: a minute with the defaults."""
_PRIOR_VARIANCE = 1.0  # of the logarithm of that median
_VARIANCE_BETWEEN = 0.36  # of the logarithms of the medians of neighbours
_VARIANCE_WITHIN, _WEIGHT_WITHIN = 0.09, 2.0
"""Of the logarithms of a kind's times, before they are seen, and for how many of them that counts."""
_OUTLIER = 3.0
"""Standard deviations from the median: what is farther away is odd, and taken for being just so far away."""
_KEPT, _KEPT_IF_ODD = 127 / 128, 0.8
"""What is left of the weight of all earlier times after one more. Odd ones in a row mean that times have changed."""
_FEW, _SELDOM = 16.0, 16
"""Forecasts are made anew after each of a kind's first times, and else after so many of any kind."""
_GROUPS = 256  # kinds, and groups of kinds, that are remembered
_TEXT = 64  # characters of a name by which kinds are told apart
_FARTHEST = 25.0  # no logarithm of a time in seconds that makes sense is farther from 0
_VERSION = 1  # of the snapshots' form

_STEP = 0.25
_DEVIATIONS = [step * _STEP for step in range(-16, 14)]
"""Where the density of looks is computed, in standard deviations from the median; one task in a thousand is slower."""
_ROOTS = [math.sqrt(math.sqrt(2 / math.pi) * math.exp(-z * z / 2) / math.erfc(z / math.sqrt(2))) for z in _DEVIATIONS]
"""Square roots of the standard normal distribution's hazard there."""
_MARGINS = 16  # steps per median in which the uncertainty of a beginning is taken into account

_ANY = Kind()


def _groups(kind: Kind) -> tuple[Kind, ...]:
    """Return the groups that a kind belongs to: all kinds, those of its endpoint, of its model, itself."""
    endpoint, model, resolution = kind.endpoint[:_TEXT], kind.model[:_TEXT], kind.resolution[:_TEXT]
    duration = kind.duration if is_positive(kind.duration) else None
    groups = (_ANY, Kind(endpoint), Kind(endpoint, model), Kind(endpoint, model, resolution, duration))
    return tuple(dict.fromkeys(groups))  # what is not known of a kind makes two of them one


@define
class _Seen:
    """What was seen of a group: the logarithms of its times."""

    weight: float = 0.0
    mean: float = 0.0
    squares: float = 0.0
    """Squared deviations from the mean, summed."""

    def add(self, value: float, kept: float) -> None:
        self.weight = self.weight * kept + 1
        deviation = value - self.mean
        self.mean += deviation / self.weight
        self.squares = self.squares * kept + deviation * (value - self.mean)

    @property
    def variance(self) -> float:
        """Of one time."""
        return (self.squares + _WEIGHT_WITHIN * _VARIANCE_WITHIN) / (self.weight + _WEIGHT_WITHIN)


@define
class _Plan:
    """How many looks a task gets by when, if it is looked at with the right density."""

    times: list[float] = field(factory=lambda: [0.0])
    """Seconds since it began."""
    looks: list[float] = field(factory=lambda: [0.0])
    """Due by then."""
    intervals: list[float] = field(factory=list)
    """From one look to the next, from each of the times on."""

    def following(self, running: float) -> float:
        """Return when one more look is due than now."""
        here = bisect_right(self.times, running) - 1
        goal = self.looks[here] + (running - self.times[here]) / self.intervals[here] + 1
        there = bisect_right(self.looks, goal) - 1
        return self.times[there] + (goal - self.looks[there]) * self.intervals[there]


@define
class _Forecast:
    """How long tasks of a kind are expected to take."""

    groups: tuple[Kind, ...]
    mean: float
    """Of the logarithm of the seconds."""
    spread: float
    """Its standard deviation, including what is not known about the mean."""
    is_learned: bool
    """Whether a task of the same endpoint was seen."""
    median: float = field(init=False)
    """Seconds."""
    span: float = field(init=False)
    """Seconds from look to look in a queue."""
    plans: dict[int, _Plan] = field(factory=dict, init=False)
    """By the uncertainty of the beginning."""

    def __attrs_post_init__(self) -> None:
        self.median = math.exp(self.mean)
        self.span = self.median * min(_SHARE_OF_SPREAD * self.spread, math.exp(-_EARLY * self.spread))

    def step(self, margin: float) -> int:
        """Return by how much a beginning is less certain than usual; the usual is in the times seen, too."""
        most, usual = min(max(0.0, margin), self.median), self.span / 2
        return round(math.sqrt(max(0.0, most**2 - usual**2)) / self.median * _MARGINS)


@define(eq=False)
class Learner:
    """Learns how long tasks of each kind take, and looks accordingly.

    A kind of which little was seen profits from its neighbours: tasks of the same model, then of the same endpoint,
    then of any. Times of late count for more than those of long ago, and a single odd one for little.
    """

    _polling: Polling
    _seen: OrderedDict[Kind, _Seen] = field(factory=OrderedDict, init=False)
    _forecasts: dict[Kind, _Forecast] = field(factory=dict, init=False)
    _heard: int = field(default=0, init=False)

    @property
    def max_per_second(self) -> float | None:
        """Looks a second over all tasks together; None is no bound."""
        return self._polling.max_per_second

    def interval(self, waiting: Waiting) -> float:
        """Return the seconds until the next look at a task."""
        forecast = self._forecasts.get(waiting.kind) or self._forecast(waiting.kind)
        age, running, margin = max(0.0, waiting.age), waiting.running, waiting.margin
        if running is None and waiting.state is TaskState.PROCESSING:
            # It was found so, and may have begun at any time within about a median.
            running, margin = age + forecast.median / 2, forecast.median
        if running is not None:
            usual = self._in_process(forecast, max(0.0, running), margin)
        elif waiting.off_peak:
            return self._polling.max_interval * _OFF_PEAK_STRETCH
        else:
            usual = self._in_queue(forecast, age, waiting.state)
        if not waiting.is_called_back:
            return usual
        return self._called_back(usual, age if running is None else max(0.0, running), forecast.median)

    def _in_process(self, forecast: _Forecast, running: float, margin: float) -> float:
        step = forecast.step(margin)
        plan = forecast.plans.get(step) or self._plan(forecast, step)
        behind = running - plan.times[-1]
        if behind >= 0:  # nothing that was seen tells when this one ends
            return self._polling.within(plan.intervals[-1] + behind * _SHARE_OF_AGE)
        return self._polling.within(plan.following(running) - running)

    def _in_queue(self, forecast: _Forecast, age: float, state: TaskState | None) -> float:
        """Return a twentieth of the age; more if tasks of this endpoint are seen when they begin."""
        interval = age * _SHARE_OF_AGE
        if forecast.is_learned and state in _QUEUED:
            span = min(forecast.span, self._polling.max_interval)
            # The first look comes after half of it: many tasks do not wait at all.
            interval = max(interval, span if age >= span / 2 else span / 2)
        return self._polling.within(interval)

    def _called_back(self, usual: float, silence: float, median: float) -> float:
        left = _CALLED_SILENCE * median - silence
        if left <= 0:
            return usual
        slow = _CALLED_FIRST * self._polling.min_interval + _CALLED_GROWTH * silence
        return max(usual, min(slow, _CALLED_STRETCH * self._polling.max_interval, left))

    def _plan(self, forecast: _Forecast, step: int) -> _Plan:
        """Add up the density of looks over the time that a task may take."""
        spread = math.sqrt(forecast.spread**2 + (step / _MARGINS) ** 2 / 3)
        time, growth = math.exp(forecast.mean + _DEVIATIONS[0] * spread), math.exp(_STEP * spread)
        pace = _PACE * math.sqrt(self._polling.scale * spread)
        before = self._polling.max_interval
        plan = forecast.plans[step] = _Plan()
        for root in _ROOTS:
            interval = self._polling.within(pace * math.sqrt(time) / root)
            plan.intervals.append(before / 2 + interval / 2)
            plan.looks.append(plan.looks[-1] + (time - plan.times[-1]) / plan.intervals[-1])
            plan.times.append(time)
            time, before = time * growth, interval
        plan.intervals.append(before)
        return plan

    def _forecast(self, kind: Kind) -> _Forecast:
        """Begin with what is expected of anything, and correct it by ever nearer neighbours."""
        mean = max(-_FARTHEST, min(_FARTHEST, math.log(self._polling.scale) + math.log(_PRIOR)))
        doubt, variance, is_learned = _PRIOR_VARIANCE, _VARIANCE_WITHIN, False
        groups = _groups(kind)
        for group in groups:
            doubt += _VARIANCE_BETWEEN if group is not _ANY else 0.0
            variance = _VARIANCE_WITHIN
            if seen := self._seen.get(group):
                variance, is_learned = seen.variance, group is not _ANY
                trust = doubt / (doubt + variance / seen.weight)
                mean += trust * (seen.mean - mean)
                doubt *= 1 - trust
        if len(self._forecasts) >= _GROUPS:
            self._forecasts.clear()
        forecast = self._forecasts[kind] = _Forecast(groups, mean, math.sqrt(variance + doubt), is_learned)
        return forecast

    def finished(self, kind: Kind, seconds: float) -> None:
        """Learn that a task of this kind succeeded so many seconds after it began to be processed."""
        if not 0 <= seconds < math.inf:
            return
        forecast = self._forecasts.get(kind) or self._forecast(kind)
        said = math.log(max(seconds, self._polling.min_interval / 2, math.exp(-_FARTHEST)))
        farthest = _OUTLIER * forecast.spread
        value = max(forecast.mean - farthest, min(forecast.mean + farthest, _FARTHEST, said))
        for group in forecast.groups:
            seen = self._seen.get(group) or _Seen()
            seen.add(value, _KEPT if value == said else _KEPT_IF_ODD)
            self._remember(group, seen)
        self._heard += 1
        is_new = self._seen[forecast.groups[-1]].weight < _FEW
        if is_new or value != said or self._heard % _SELDOM == 0:
            self._forecasts.clear()

    def _remember(self, group: Kind, seen: _Seen) -> None:
        """Keep what was heard of last at the end, and forget what nothing was heard of for longest."""
        self._seen[group] = seen
        self._seen.move_to_end(group)
        while len(self._seen) > _GROUPS:
            self._seen.popitem(last=False)

    def snapshot(self) -> dict[str, Any]:
        """Return what was learned, as JSON can carry it: at most 256 rows."""
        rows = [[*astuple(group), *astuple(seen)] for group, seen in self._seen.items()]
        return {"version": _VERSION, "seen": rows}

    def restore(self, snapshot: object) -> None:
        """Take in what was learned earlier, in place of what is known of the same kinds.

        What is no snapshot, or no row of one, is left out.
        """
        rows = snapshot.get("seen") if isinstance(snapshot, Mapping) and snapshot.get("version") == _VERSION else None
        for row in rows if isinstance(rows, list) else ():
            if _is_row(row):
                self._remember(Kind(*row[:4]), _Seen(*row[4:]))
        self._forecasts.clear()


def _is_row(row: object) -> bool:
    """Whether `finished` can have led to this row of a snapshot."""
    if not isinstance(row, list) or len(row) != len(fields(Kind)) + len(fields(_Seen)):
        return False
    *names, duration, weight, mean, squares = row
    return (
        all(isinstance(name, str) and len(name) <= _TEXT for name in names)
        and (duration is None or is_positive(duration))
        and all(isinstance(number, (int, float)) for number in (weight, mean, squares))
        and 0 < weight <= 1 / (1 - _KEPT)
        and abs(mean) <= _FARTHEST
        and 0 <= squares <= weight * (2 * _FARTHEST) ** 2
    )
