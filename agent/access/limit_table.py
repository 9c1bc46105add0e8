"""Every limit on callers and addresses: what, who, how many, how long, counted where. Pure.

There are two kinds of count: a rate is so many within a window, a place is so many at once.
Counting and refusing is the work of `limits`; what each limit is for is in docs/design.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from agent.conf import Conf

#: How many times as much as one caller all callers of an address may do together: a visitor is a
#: cookie, of which anybody can have as many as they like.
_CROWD = 10

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
#: 0: at once.
AT_ONCE, SECOND, MINUTE, HOUR = 0, 1, 60, 3600


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit.

    Args:
        what: is counted.
        who: has a count of its own.
        most: how many there may be.
        seconds: within which; 0: at once.
        shared: whether it counts over all processes where Redis answers.
        words: of the refusal, for a person.
    """

    what: What
    who: Who
    most: int
    seconds: int
    words: str
    shared: bool = True


def table(conf: Conf) -> tuple[Limit, ...]:
    """Every limit with its number."""
    many = "Too many questions in a minute."
    writes = "Too many changes in a minute."
    unfinished = "Too many requests at once. Wait for an answer first."
    connections = "Too many connections at once. Close another one first."
    sign_ins = "Too many tries to sign in."
    return (
        Limit(
            *("frames", "caller", conf.max_frames_per_second, SECOND),
            "Too many messages at once. Wait a moment and try again.",
        ),
        Limit("queries", "caller", conf.max_queries_per_minute, MINUTE, many),
        Limit("queries", "visitors' address", _CROWD * conf.max_queries_per_minute, MINUTE, many),
        Limit("writes", "caller", conf.max_writes_per_minute, MINUTE, writes),
        Limit("writes", "address", _CROWD * conf.max_writes_per_minute, MINUTE, writes),
        Limit(
            *("writes", "anonymous address", conf.max_anonymous_writes_per_hour, HOUR),
            "Too much was said without signing in from your network. Sign in, or come back later.",
        ),
        Limit("notifications", "caller", _CROWD * conf.max_writes_per_minute, MINUTE, writes),
        Limit(
            *("connects", "address", conf.max_connects_per_minute, MINUTE),
            "Too many new connections from your network. Wait a moment.",
        ),
        Limit("connections", "caller", conf.max_connections_per_user, AT_ONCE, connections),
        Limit(
            *("connections", "address", conf.max_connections_per_address, AT_ONCE),
            "Too many connections from your network. Close another one first.",
        ),
        Limit(
            *("requests under way", "caller", conf.max_requests_per_user, AT_ONCE, unfinished),
            shared=False,
        ),
        Limit(
            *("requests under way", "address", conf.max_requests_per_address, AT_ONCE, unfinished),
            shared=False,
        ),
        Limit(
            *("bad tokens", "address", conf.max_connects_per_minute, MINUTE),
            "Too many bad tokens from your network. Wait a moment.",
        ),
        Limit("sign-ins", "address", conf.max_sign_ins_per_minute, MINUTE, sign_ins),
        Limit(
            *("wrong passwords", "user name", conf.max_wrong_passwords_per_minute, MINUTE),
            sign_ins,
        ),
    )
