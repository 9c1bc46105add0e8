"""Whether a caller's credential is still valid: a connection can outlive the check at its start.

The rows are read again, so a revocation counts whichever process or tool wrote it, and no message
is needed. A visitor's cookie and a resume token have no row, so they cannot be revoked.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.sessions.models import Session as Login
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from agent.actor import Access
from agent.errors import Unauthenticated
from agent.models import ApiToken

_BATCH = 500


def check(access: Access) -> None:
    """Check that a caller's credential is still valid.

    Raises:
        Unauthenticated: it was revoked or has expired, or its user signed out, changed the
            password, was deactivated or deleted.
    """
    if ended([access]):
        raise Unauthenticated


def ended(accesses: Collection[Access]) -> set[Access]:
    """Return the accesses whose credential has ended, with three indexed queries per `_BATCH`."""
    tokens = _found(_tokens, {access.token_id for access in accesses if access.token_id})
    logins = _found(_logins, {access.login for access in accesses if access.login})
    users = _found(_users, {access.actor.user_id for access in accesses if access.login})
    hashes = {user.pk: user.get_session_auth_hash() for user in users}
    return {access for access in accesses if not _is_valid(access, tokens, logins, hashes)}


def _is_valid(access: Access, tokens: set[int], logins: set[str], hashes: dict[Any, str]) -> bool:
    if access.credential == "token":
        return access.token_id in tokens
    if access.credential == "login":
        known = hashes.get(access.actor.user_id, "")
        return access.login in logins and constant_time_compare(known, access.login_hash)
    return True


def _found(query: Callable[[list[Any]], Iterable[Any]], keys: Collection[Any]) -> set[Any]:
    wanted = list(keys)
    found: set[Any] = set()
    for start in range(0, len(wanted), _BATCH):
        found.update(query(wanted[start : start + _BATCH]))
    return found


def _tokens(keys: list[int]) -> Iterable[int]:
    found: Iterable[int] = (
        ApiToken.objects.in_force().filter(pk__in=keys).values_list("pk", flat=True)
    )
    return found


def _logins(keys: list[str]) -> Iterable[str]:
    open_logins = Login.objects.filter(pk__in=keys, expire_date__gt=timezone.now())
    return open_logins.values_list("pk", flat=True)


def _users(keys: list[Any]) -> Iterable[Any]:
    active = get_user_model()._default_manager.filter(pk__in=keys, is_active=True)
    return active.only("password")
