"""What a test can see of a simulated service: each look first plays what happened meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from types import MappingProxyType

from vidu_async.testing.account import Account, Entry, Task
from vidu_async.testing.callbacks import Delivery, Outgoing
from vidu_async.testing.service import Service
from vidu_async.testing.uploads import Upload


class View:
    """Tasks, credits, pictures and callbacks of a service, from any thread. Whoever inherits it sets what it is of."""

    _account: Account
    _service: Service
    _outgoing: Outgoing
    _lock: AbstractContextManager[object]
    _clock: Callable[[], float]

    @property
    def tasks(self) -> Mapping[str, Task]:
        """Every accepted task by id, in the order of acceptance, as of now; a live view."""
        self.catch_up()
        return MappingProxyType(self._account.tasks)

    @property
    def accepted(self) -> list[Task]:
        """Every accepted task, in the order of acceptance, as of now."""
        return list(self.tasks.values())

    @property
    def credits(self) -> int:
        """The credits that are left."""
        self.catch_up()
        return self._account.credits

    @property
    def charged(self) -> int:
        """The credits taken so far, less those refunded."""
        self.catch_up()
        return self._account.charged

    @property
    def uploads(self) -> list[Upload]:
        """The pictures that were uploaded, of which requests may hold the `uri`, in the order in which they came."""
        with self._lock:
            return self._service.uploads.finished

    @property
    def ledger(self) -> list[Entry]:
        """Every taking and refunding of credits, in order."""
        self.catch_up()
        return list(self._account.ledger)

    @property
    def deliveries(self) -> list[Delivery]:
        """What became of each callback, in the order in which that was known; what is forged is not among them."""
        return list(self._outgoing.deliveries)

    def catch_up(self) -> None:
        """Play what happened meanwhile, as a look at tasks or credits does."""
        with self._lock:
            self._account.advance(self._clock())
