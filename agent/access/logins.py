"""Django's logins, found by keys that Django could have made.

A cookie may hold anything, a NUL too, which PostgreSQL refuses with an error instead of finding
nothing: such a key is no key.
"""

from __future__ import annotations

from typing import Any

from django.contrib.sessions.backends.base import VALID_KEY_CHARS
from django.contrib.sessions.backends.db import SessionStore as DjangosSessionStore

_CHARS = frozenset(VALID_KEY_CHARS)


class SessionStore(DjangosSessionStore):
    """What `SESSION_ENGINE` is to have, and `auth` looks into."""

    def _validate_session_key(self, key: Any) -> bool:
        return isinstance(key, str) and len(key) >= 8 and _CHARS.issuperset(key)
