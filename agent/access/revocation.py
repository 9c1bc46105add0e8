"""Whether what a caller showed still counts; a connection outlives the look at it.

The rows are asked, whichever process or tool changed them; nothing has to be told. A visitor's
cookie and a resume token have no row, so they cannot end.
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
    """Let only those go on whose credential still counts.

    Raises:
        Unauthenticated: it was revoked or has expired, or its user signed out, changed the
            password, was deactivated or deleted.
    """
    if ended([access]):
        raise Unauthenticated


def ended(accesses: Collection[Access]) -> set[Access]:
    """Those whose credential has ended; three indexed queries for each `_BATCH` of them."""
    tokens = _found(_tokens, {one.token_id for one in accesses if one.token_id})
    logins = _found(_logins, {one.login for one in accesses if one.login})
    users = _found(_users, {one.actor.user_id for one in accesses if one.login})
    hashes = {user.pk: user.get_session_auth_hash() for user in users}
    return {one for one in accesses if not _counts(one, tokens, logins, hashes)}


def _counts(access: Access, tokens: set[int], logins: set[str], hashes: dict[Any, str]) -> bool:
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
