"""Hashing passwords: slow on purpose, so it is bounded, and nobody else waits for a connection.

It is done where every hash is made, whoever makes it: signing in at either page, the hash of an
unknown user that hides that there is none, another password, another number of iterations.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from django.contrib.auth.hashers import PBKDF2PasswordHasher

from agent import metrics
from agent.errors import Overloaded
from agent.store import slots

#: Hashes at once. Each takes a core for about half a second; the others are for those who chat.
_AT_ONCE = max((os.cpu_count() or 1) // 2, 1)
#: How long one waits for its turn.
_WAIT_SECONDS = 30.0

_places = threading.BoundedSemaphore(_AT_ONCE)


class Pbkdf2(PBKDF2PasswordHasher):
    """Django's own, with the same hashes."""

    def encode(self, password: str, salt: str, iterations: int | None = None) -> str:
        """The hash of a password.

        Raises:
            Overloaded: too many wait for theirs.
        """
        with slots.without_connection(), _place():
            return super().encode(password, salt, iterations)


@contextmanager
def _place() -> Iterator[None]:
    if not _places.acquire(timeout=_WAIT_SECONDS):
        metrics.overloads.inc()
        raise Overloaded(retry_after=_WAIT_SECONDS)
    try:
        yield
    finally:
        _places.release()
