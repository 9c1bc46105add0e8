"""API tokens: made, found and revoked. The database keeps a digest, never a token.

A token is `awt_`, a public prefix by which its row is found, and 32 random bytes. Those cannot be
guessed, so a plain SHA-256 is enough; the digests are compared in constant time.
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

#: How every token begins: tells it from a resume token, and lets scanners for secrets find it.
MARK = "awt_"
_FORM = re.compile(MARK + r"([0-9a-f]{12})_[A-Za-z0-9_-]{43}")
_NO_DIGEST = "0" * 64
#: `last_used_at` is written at most this often.
_USE_SECONDS = 60


def create(
    name: str, scopes: Iterable[Scope], *, user: Any = None, expires_at: datetime | None = None
) -> tuple[ApiToken, str]:
    """Make a token; returns its row, and the token itself, which nobody can see again.

    Args:
        name: by which people know it; only one token in force may have it.
        scopes: what it is good for.
        user: for whom it acts; None: for itself.
        expires_at: when it ends; None: never.

    Raises:
        IntegrityError: a token that was not revoked has this name.
    """
    row = ApiToken(name=name, scopes=sorted(set(scopes)), user=user, expires_at=expires_at)
    return row, issue(row)


def issue(row: ApiToken) -> str:
    """Save a new row together with a token for it; returns the token."""
    row.prefix = secrets.token_hex(6)
    token = f"{MARK}{row.prefix}_{secrets.token_urlsafe(32)}"
    row.digest = _digest(token)
    row.save(force_insert=True)
    return token


def find(token: str) -> ApiToken | None:
    """The row of a token in force; None for every other text. Notes that it was used."""
    form = _FORM.fullmatch(token)
    rows = ApiToken.objects.in_force().filter(prefix=form[1] if form else "")
    row: ApiToken | None = rows.first()
    if not compare_digest(_digest(token), row.digest if row else _NO_DIGEST):
        return None
    if row:
        _note_use(row)
    return row


def _note_use(row: ApiToken) -> None:
    stale = Q(last_used_at=None) | Q(last_used_at__lt=Now() - timedelta(seconds=_USE_SECONDS))
    ApiToken.objects.filter(stale, id=row.pk).update(last_used_at=Now())


def revoke(name: str) -> int:
    """End the token of this name for good; returns how many there were."""
    rows = ApiToken.objects.filter(name=name, revoked_at=None)
    return int(rows.update(revoked_at=Now()))


def _digest(token: str) -> str:
    return sha256(token.encode(errors="replace")).hexdigest()
