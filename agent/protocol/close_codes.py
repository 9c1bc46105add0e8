"""The table of close codes: the one source for the server, the documents and the browser's client.

`docs/protocol.md` says what each code means; `tests/unit/test_close_codes.py` compares.
"""

from __future__ import annotations

from enum import IntEnum


class CloseCode(IntEnum):
    """How the server ends a WebSocket.

    `reconnect` tells whether a client shall connect again by itself.
    """

    reconnect: bool

    def __new__(cls, code: int, reconnect: bool) -> CloseCode:
        member = int.__new__(cls, code)
        member._value_ = code
        member.reconnect = reconnect
        return member

    NORMAL = 1000, False
    BROKEN_CLIENT = 4400, False
    UNAUTHENTICATED = 4401, False
    FORBIDDEN = 4403, False
    NOT_FOUND = 4404, False
    TOO_SLOW = 4408, True
    RATE_LIMITED = 4429, True
    RESTARTING = 4503, True
