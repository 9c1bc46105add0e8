"""Who is calling, as a plain value. No I/O: `auth` makes one, `models` filters by one."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Actor:
    """A caller of the agent.

    At most one of the three is set; none of them means nobody, who reaches no stored session
    and can only start a new one.

    Args:
        user_id: primary key of a signed-in user.
        visitor: random id out of a browser's signed visitor cookie.
        session_id: the one session that a resume token is good for.
    """

    user_id: int | None = None
    visitor: str = ""
    session_id: UUID | None = None

    @property
    def is_nobody(self) -> bool:
        return self.user_id is None and not self.visitor and self.session_id is None

    @property
    def key(self) -> str:
        """A name for this caller, the same on each of its connections; empty for nobody."""
        if self.user_id is not None:
            return f"user:{self.user_id}"
        if self.visitor:
            return f"visitor:{self.visitor}"
        return f"session:{self.session_id}" if self.session_id else ""
