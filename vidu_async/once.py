"""What was found out once, so that the same is not found out again, by several threads at a time neither."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from concurrent.futures import Future
from typing import TYPE_CHECKING, Generic, TypeVar

from attrs import define, field

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

V = TypeVar("V")


@define(eq=False)
class Once(Generic[V]):
    """Remembers the latest answers, and has one thread find out while the others that ask the same wait for it.

    A question whose answer is an exception is asked anew. A forked process begins with no answers: a thread that was
    finding one out does not exist there.
    """

    _most: int = 1024
    """Answers that are remembered."""
    _lock: threading.Lock = field(factory=threading.Lock, init=False)
    _answers: OrderedDict[Hashable, Future[V]] = field(factory=OrderedDict, init=False)

    def __attrs_post_init__(self) -> None:
        if hasattr(os, "register_at_fork"):  # not on Windows, where nothing forks
            os.register_at_fork(after_in_child=self._begin_anew)

    def answer(self, question: Hashable, find_out: Callable[[], V]) -> V:
        """Return the answer, found out now unless it is known."""
        with self._lock:
            answer, is_new = self._answers.get(question), question not in self._answers
            if answer is None:
                answer = self._answers[question] = Future()
            self._answers.move_to_end(question)
            if len(self._answers) > self._most:
                self._answers.popitem(last=False)
        if is_new:
            self._find_out(question, answer, find_out)
        return answer.result()

    def _find_out(self, question: Hashable, answer: Future[V], find_out: Callable[[], V]) -> None:
        try:
            answer.set_result(find_out())
        except BaseException as error:  # noqa: BLE001 - raised by whoever asked, and those who wait must not wait for ever
            with self._lock:
                if self._answers.get(question) is answer:
                    del self._answers[question]
            answer.set_exception(error)

    def _begin_anew(self) -> None:
        self._lock, self._answers = threading.Lock(), OrderedDict()
