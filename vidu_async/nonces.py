"""Which callbacks were taken in already: a memory of their nonces, bounded in number and in time."""

from __future__ import annotations

import hashlib
from collections import OrderedDict

from attrs import define, field

AGE = 600.0


@define(eq=False)
class Nonces:
    """The nonces of late. What is older than `age` seconds is forgotten, and the oldest of more than `most`."""

    most: int = 100_000
    age: float = AGE
    _seen: OrderedDict[bytes, float] = field(factory=OrderedDict, init=False, repr=False)
    """When each was seen, by its hash: a sender chooses how long a nonce is."""

    def __len__(self) -> int:
        return len(self._seen)

    def knows(self, nonce: str, now: float) -> bool:
        """Whether this one was added within `age` seconds."""
        seen = self._seen.get(_print(nonce))
        return seen is not None and abs(now - seen) <= self.age

    def add(self, nonce: str, now: float) -> None:
        """Remember one."""
        self._seen[_print(nonce)] = now
        self._seen.move_to_end(_print(nonce))
        while len(self._seen) > self.most or now - next(iter(self._seen.values())) > self.age:
            self._seen.popitem(last=False)


def _print(nonce: str) -> bytes:
    return hashlib.blake2b(nonce.encode("utf-8", "surrogateescape"), digest_size=16).digest()
