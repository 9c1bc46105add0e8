"""The live path: what happens in a session reaches its connections, here and in other processes.

Here, the session's `Group` is told directly; the `relay` takes it to other processes. Publishing
comes after the commit, and only from here.
"""

from __future__ import annotations

import asyncio
import random
import time
from uuid import UUID

from agent import metrics
from agent.protocol import server_frames
from agent.store.sequence import Change

from . import broker
from .cancellation import stop_here
from .hub import Answer, Frame, Group, Presence, gone, groups, present

_FAREWELL_SECONDS = 3.0

#: The parts that this process cannot reach at the moment.
_failing: set[str] = set()


def publish(change: Change) -> None:
    """Tell every connection of a session what was committed."""
    if not (change.frames or change.statuses):
        return
    metrics.committed(change.frames)
    if mine := groups.get(change.session_id):
        mine.take(change.seq, change.frames, change.statuses)
    broker.current().pend(change)


def grown(session: Group, answer: Answer) -> None:
    """Tell that the text of a running answer has become longer."""
    session.grow()
    broker.current().pend_text(session.session_id, answer)


def stop(turn_id: UUID, worker: str, reason: str) -> None:
    """Stop a running turn now; the reason is in its row already, for the case that this is lost."""
    if worker == broker.PROCESS:
        stop_here(turn_id, reason)
    else:
        broker.current().post(worker, {"type": "stop", "turn": turn_id.hex, "reason": reason})


async def presence(session_id: UUID) -> Presence:
    """Who is connected to a session now, as far as the processes can be asked.

    Inexact: a process that answers late is not counted, and without a shared layer no other one is.
    """
    return present(session_id) + await broker.current().ask(session_id)


def deleted(session_id: UUID) -> None:
    """Tell every connection of a session, here and elsewhere, that it was deleted."""
    gone(session_id)
    broker.current().post_group(session_id, {"type": "gone", "session": session_id.hex})


def degraded(part: str, failing: bool) -> None:
    """Tell every connection of this process, and those to come, that a part of it fails.

    With `failing` False: those that there are, that it works again.
    """
    (_failing.add if failing else _failing.discard)(part)
    notification = _degraded(part, failing=failing)
    for session in list(groups.values()):
        for listener in list(session.listeners):
            listener.tell(0, notification)


def is_degraded(part: str) -> bool:
    """Whether connections were told that a part fails, and not yet that it works again."""
    return part in _failing


def degradations() -> list[Frame]:
    """What a new connection is told of the parts that fail now."""
    return [_degraded(part, failing=True) for part in sorted(_failing)]


def _degraded(part: str, *, failing: bool) -> Frame:
    words = _DEGRADED[part] if failing else "Everything works again."
    notification = server_frames.Notification(
        event="degraded", part=part, level="warning" if failing else "success", content=words
    )
    return notification.frame()


_DEGRADED = {
    "redis": "Parts of this service cannot be reached; answers may arrive late.",
    "database": "Messages cannot be stored at the moment. Please wait before you send.",
}


def comeback_seconds() -> float:
    """When somebody who is sent away shall come back; not everybody at the same moment."""
    return round(random.uniform(0.5, 4), 1)  # noqa: S311


async def restarting() -> None:
    """Send every connection of this process away, each to come back at another moment."""
    listeners = [one for session in list(groups.values()) for one in session.listeners]
    for listener in listeners:
        listener.restarting(retry_after=comeback_seconds())
    until = time.monotonic() + _FAREWELL_SECONDS
    while any(session.listeners for session in list(groups.values())):
        if time.monotonic() > until:
            break
        await asyncio.sleep(0.05)
