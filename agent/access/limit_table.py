"""Every limit on callers and addresses: what is counted, for whom, how many, how long. Pure.

There are two kinds of limit: a rate bounds events within a window, slots bound things that exist
at once. `limits` counts and refuses; docs/decisions/0022-limits.md has the reasons.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from agent.conf import Conf

#: All callers of an address together may do this many times as much as one: a visitor is a cookie,
#: and a client can get as many cookies as it likes.
_PER_ADDRESS = 10

Who = Literal["caller", "address", "anonymous address", "visitors' address", "user name"]
What = Literal[
    "frames",
    "queries",
    "writes",
    "notifications",
    "connects",
    "connections",
    "requests under way",
    "bad tokens",
    "sign-ins",
    "wrong passwords",
]
#: The seconds of a limit; 0: on things that exist at once.
AT_ONCE, SECOND, MINUTE, HOUR = 0, 1, 60, 3600


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit.

    Args:
        what: the event or thing that is counted.
        who: the party that has a count of its own.
        most: how many are allowed.
        seconds: the window; 0: at once.
        message: the message of the refusal, for a person.
        shared: whether it counts over all processes while Redis answers.
    """

    what: What
    who: Who
    most: int
    seconds: int
    message: str
    shared: bool = True


def table(conf: Conf) -> tuple[Limit, ...]:
    """Return every limit, with the numbers of the settings."""
    many = "Too many questions in a minute."
    writes = "Too many changes in a minute."
    unfinished = "Too many requests at once. Wait for an answer first."
    connections = "Too many connections at once. Close another one first."
    sign_ins = "Too many tries to sign in."
    return (
        Limit(
            "frames",
            "caller",
            conf.max_frames_per_second,
            SECOND,
            "Too many messages at once. Wait a moment and try again.",
        ),
        Limit("queries", "caller", conf.max_queries_per_minute, MINUTE, many),
        Limit(
            "queries", "visitors' address", _PER_ADDRESS * conf.max_queries_per_minute, MINUTE, many
        ),
        Limit("writes", "caller", conf.max_writes_per_minute, MINUTE, writes),
        Limit("writes", "address", _PER_ADDRESS * conf.max_writes_per_minute, MINUTE, writes),
        Limit(
            "writes",
            "anonymous address",
            conf.max_anonymous_writes_per_hour,
            HOUR,
            "Too many messages without signing in from your network. Sign in, or come back later.",
        ),
        Limit("notifications", "caller", _PER_ADDRESS * conf.max_writes_per_minute, MINUTE, writes),
        Limit(
            "connects",
            "address",
            conf.max_connects_per_minute,
            MINUTE,
            "Too many new connections from your network. Wait a moment.",
        ),
        Limit("connections", "caller", conf.max_connections_per_user, AT_ONCE, connections),
        Limit(
            "connections",
            "address",
            conf.max_connections_per_address,
            AT_ONCE,
            "Too many connections from your network. Close another one first.",
        ),
        Limit(
            "requests under way",
            "caller",
            conf.max_requests_per_user,
            AT_ONCE,
            unfinished,
            shared=False,
        ),
        Limit(
            "requests under way",
            "address",
            conf.max_requests_per_address,
            AT_ONCE,
            unfinished,
            shared=False,
        ),
        Limit(
            "bad tokens",
            "address",
            conf.max_connects_per_minute,
            MINUTE,
            "Too many bad tokens from your network. Wait a moment.",
        ),
        Limit("sign-ins", "address", conf.max_sign_ins_per_minute, MINUTE, sign_ins),
        Limit(
            "wrong passwords",
            "user name",
            conf.max_wrong_passwords_per_minute,
            MINUTE,
            sign_ins,
        ),
    )
