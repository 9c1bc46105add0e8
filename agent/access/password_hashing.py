"""Bounds password hashing, which is slow on purpose, and frees the database connection meanwhile.

The bound is in the hasher, so it applies to every hash: signing in at either page, the hash for an
unknown user that hides that there is none, a new password, a new number of iterations.
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

#: Hashes at once. Each takes a core for about half a second; the other cores serve conversations.
_AT_ONCE = max((os.cpu_count() or 1) // 2, 1)
#: How long a hash waits for a slot.
_WAIT_SECONDS = 30.0

_places = threading.BoundedSemaphore(_AT_ONCE)


class Pbkdf2(PBKDF2PasswordHasher):
    """Django's hasher with a bound; the hashes are the same."""

    def encode(self, password: str, salt: str, iterations: int | None = None) -> str:
        """Return the hash of a password.

        Raises:
            Overloaded: no slot was free within `_WAIT_SECONDS`.
        """
        with slots.without_connection(), _slot():
            return super().encode(password, salt, iterations)


@contextmanager
def _slot() -> Iterator[None]:
    if not _places.acquire(timeout=_WAIT_SECONDS):
        metrics.overloads.inc()
        raise Overloaded(retry_after=_WAIT_SECONDS)
    try:
        yield
    finally:
        _places.release()
