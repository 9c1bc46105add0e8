"""Creates, finds and revokes API tokens. The database stores a digest, never a token.

A token is `awt_`, a public prefix that identifies its row, and 32 random bytes. Random bytes cannot
be guessed, so a plain SHA-256 is enough. The digests are compared in constant time.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta
from hashlib import sha256
from hmac import compare_digest
from typing import Any

from django.db.models import Q
from django.db.models.functions import Now

from agent.actor import Scope
from agent.models import ApiToken

#: How every token begins: distinguishes it from a resume token, and lets secret scanners find it.
MARK = "awt_"
_FORM = re.compile(MARK + r"([0-9a-f]{12})_[A-Za-z0-9_-]{43}")
_NO_DIGEST = "0" * 64
#: `last_used_at` is written at most this often.
_USE_SECONDS = 60


def create(
    name: str, scopes: Iterable[Scope], *, user: Any = None, expires_at: datetime | None = None
) -> tuple[ApiToken, str]:
    """Create a token; returns its row, and the token itself, which cannot be shown again.

    Args:
        name: the name that staff see; unique among the tokens that were not revoked.
        scopes: what the token allows.
        user: the user that it acts for; None: it acts for itself.
        expires_at: when it expires; None: never.

    Raises:
        IntegrityError: a token that was not revoked has this name.
    """
    row = ApiToken(name=name, scopes=sorted(set(scopes)), user=user, expires_at=expires_at)
    return row, issue(row)


def issue(row: ApiToken) -> str:
    """Generate a token for a new row and save the row; returns the token."""
    row.prefix = secrets.token_hex(6)
    token = f"{MARK}{row.prefix}_{secrets.token_urlsafe(32)}"
    row.digest = _digest(token)
    row.save(force_insert=True)
    return token


def find(token: str) -> ApiToken | None:
    """Return the row of a valid token, or None for any other text; records the use."""
    match = _FORM.fullmatch(token)
    rows = ApiToken.objects.in_force().filter(prefix=match[1] if match else "")
    row: ApiToken | None = rows.first()
    if not compare_digest(_digest(token), row.digest if row else _NO_DIGEST):
        return None
    if row:
        _record_use(row)
    return row


def _record_use(row: ApiToken) -> None:
    stale = Q(last_used_at=None) | Q(last_used_at__lt=Now() - timedelta(seconds=_USE_SECONDS))
    ApiToken.objects.filter(stale, id=row.pk).update(last_used_at=Now())


def revoke(name: str) -> int:
    """Revoke the token with this name for good; returns how many were revoked: 0 or 1."""
    rows = ApiToken.objects.filter(name=name, revoked_at=None)
    return int(rows.update(revoked_at=Now()))


def _digest(token: str) -> str:
    return sha256(token.encode(errors="replace")).hexdigest()
