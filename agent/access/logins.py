"""Django's login sessions, looked up only by keys that Django could have made.

A cookie may contain anything, even a NUL, for which PostgreSQL raises an error instead of finding
no row. Such a key counts as absent.
"""

from __future__ import annotations

from typing import Any

from django.contrib.sessions.backends.base import VALID_KEY_CHARS
from django.contrib.sessions.backends.db import SessionStore as DjangosSessionStore

_CHARS = frozenset(VALID_KEY_CHARS)


class SessionStore(DjangosSessionStore):
    """The store that `SESSION_ENGINE` names and authentication reads."""

    def _validate_session_key(self, key: Any) -> bool:
        return isinstance(key, str) and len(key) >= 8 and _CHARS.issuperset(key)
