"""Who is calling, as plain values. No I/O: `auth` makes them, `models` filters by an `Actor`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias
from uuid import UUID

Scope: TypeAlias = Literal["chat", "notify"]
#: What a caller may show: an API token, Django's login cookie, the visitor cookie, a resume token;
#: or nothing.
Credential: TypeAlias = Literal["token", "login", "visitor", "resume", ""]

CHAT: Scope = "chat"
NOTIFY: Scope = "notify"


@dataclass(frozen=True, slots=True)
class Actor:
    """A caller of the agent.

    At most one of the four is set; none of them means nobody, who reaches no stored session
    and can only start a new one.

    Args:
        user_id: primary key of a user: one who signed in, or the one that an API token acts for.
        token_id: primary key of an API token that acts for no user, but for itself.
        visitor: random id out of a browser's signed visitor cookie.
        session_id: the one session that a resume token is good for.
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
        """A name for this caller, the same on each of its connections; empty for nobody."""
        if self.user_id is not None:
            return f"user:{self.user_id}"
        if self.token_id is not None:
            return f"token:{self.token_id}"
        if self.visitor:
            return f"visitor:{self.visitor}"
        return f"session:{self.session_id}" if self.session_id else ""


@dataclass(frozen=True, slots=True)
class Access:
    """A caller together with what it showed.

    Args:
        actor: who it is.
        credential: what kind of thing it showed.
        scopes: what that is good for.
        token_id: of an API token, its primary key.
        login: of a login, the key of its Django session.
        login_hash: of a login, Django's session auth hash, which changes with the password.
    """

    actor: Actor = Actor()
    credential: Credential = ""
    scopes: frozenset[Scope] = frozenset([CHAT])
    token_id: int | None = None
    login: str = ""
    login_hash: str = ""

    @property
    def revocable(self) -> bool:
        """Whether it can stop counting while a connection stands; see `credentials`."""
        return self.credential in ("token", "login")

    @property
    def by_cookie(self) -> bool:
        """Whether a browser sent it by itself, so that a page of another site may have asked."""
        return self.credential in ("login", "visitor")
