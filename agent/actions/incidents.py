"""An unexpected error as its caller may see it: with an incident id, which the log has too."""

from __future__ import annotations

import structlog

from agent.errors import InternalError, StorageUnavailable
from agent.live.publish import comeback_seconds
from agent.store import outage
from agent.store.outage import DATABASE_ERRORS

log = structlog.get_logger(__name__)


def incident_of(
    error: Exception, *, subject: str, retry_after: float | None = None
) -> InternalError:
    """Log an error that nothing expected, and return the one to answer with.

    Args:
        error: the unexpected error. One of the database is expected: it is an outage.
        subject: begins the log line: "a frame", "a request".
        retry_after: seconds after which the client shall come back.
    """
    if isinstance(error, DATABASE_ERRORS):
        unavailable = StorageUnavailable(retry_after=retry_after or comeback_seconds())
        log.info(
            f"{subject} was refused",
            incident=unavailable.incident,
            error=type(error).__name__,
            reason=outage.reason(error),
        )
        return unavailable
    internal = error if isinstance(error, InternalError) else InternalError(retry_after=retry_after)
    log.error(
        f"{subject} could not be handled",
        incident=internal.incident,
        error=type(error).__name__,
        exc_info=error,
    )
    return internal
