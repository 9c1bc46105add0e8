"""Callers as plain values. No I/O: `authentication` creates them, `models` filters by `Actor`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias
from uuid import UUID

Scope: TypeAlias = Literal["chat", "notify"]
#: The kind of a credential: an API token, Django's login cookie, the visitor cookie, or a resume
#: token; empty: none.
Credential: TypeAlias = Literal["token", "login", "visitor", "resume", ""]

CHAT: Scope = "chat"
NOTIFY: Scope = "notify"


@dataclass(frozen=True, slots=True)
class Actor:
    """A caller of the agent.

    At most one of the four is set. Without any, it is an anonymous client, which reaches no stored
    session and can only start a new one.

    Args:
        user_id: primary key of a user that signed in, or that an API token acts for.
        token_id: primary key of an API token that acts for itself and not for a user.
        visitor: random id from a browser's signed visitor cookie.
        session_id: the only session that a resume token gives access to.
    """

    user_id: int | None = None
    visitor: str = ""
    session_id: UUID | None = None
    token_id: int | None = None

    @property
    def is_anonymous(self) -> bool:
        return self == Actor()

    @property
    def key(self) -> str:
        """A name for this caller, the same on all of its connections; empty if anonymous."""
        if self.user_id is not None:
            return f"user:{self.user_id}"
        if self.token_id is not None:
            return f"token:{self.token_id}"
        if self.visitor:
            return f"visitor:{self.visitor}"
        return f"session:{self.session_id}" if self.session_id else ""


@dataclass(frozen=True, slots=True)
class Access:
    """A caller together with the credential that it showed.

    Args:
        actor: the caller.
        credential: the kind of credential.
        scopes: what the credential allows.
        token_id: the primary key of an API token.
        login: the key of a login's Django session.
        login_hash: a login's session auth hash, which changes with the password.
    """

    actor: Actor = Actor()
    credential: Credential = ""
    scopes: frozenset[Scope] = frozenset([CHAT])
    token_id: int | None = None
    login: str = ""
    login_hash: str = ""

    @property
    def revocable(self) -> bool:
        """Whether the credential can end while a connection is open; see `revocation`."""
        return self.credential in ("token", "login")

    @property
    def by_cookie(self) -> bool:
        """Whether a browser attached the credential, so a page of another site may have asked."""
        return self.credential in ("login", "visitor")
