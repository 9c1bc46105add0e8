"""The one tree of errors, raised by the core and mapped once at each edge.

    AgentError
    ├── InvalidJson (NotJson), InvalidMessage (MethodNotAllowed), UnknownType,
    │   UnknownCommand, TooLarge                                             bad input
    ├── RateLimited, QueueFull, Busy (Overloaded), Conflict                  not now
    ├── NotFound (SessionGone), Unauthenticated, Forbidden                   not you
    ├── ProviderUnavailable (AnswerUnreadable), ProviderTimeout,
    │   ProviderRateLimited                                                  the model's side
    ├── ProviderRejected, ContextTooLong
    └── InternalError (Restarting, StorageUnavailable)                        ours

People read the message of an error. It says what to do, and never contains a stack trace, a
provider's message, a key, a path or another caller's data. No imports of ours, no I/O.
"""

from __future__ import annotations

import secrets
from typing import ClassVar


class AgentError(Exception):
    """An error that a client may see.

    Args:
        message: the text for a person; absent: the class's own `default_message`.
        retry_after: seconds after which a retry makes sense, or None.
    """

    #: The HTTP status that a provider's error had or named, for the operator.
    status: int | None = None

    code: ClassVar[str]
    retryable: ClassVar[bool] = False
    default_message: ClassVar[str]

    def __init__(self, message: str = "", *, retry_after: float | None = None) -> None:
        self.message = message or self.default_message
        self.retry_after = retry_after
        super().__init__(self.message)


class InvalidJson(AgentError):
    code = "invalid_json"
    default_message = "This is not a JSON object. Send one JSON object in one text frame."


class NotJson(InvalidJson):
    """The body of a request has another Content-Type than JSON."""

    default_message = "Send JSON, with Content-Type: application/json."


class InvalidMessage(AgentError):
    code = "invalid_message"
    default_message = "A field of this message is missing or wrong."


class UnknownType(AgentError):
    code = "unknown_type"
    default_message = "Unknown message type."


class UnknownCommand(AgentError):
    code = "unknown_command"
    default_message = "Unknown command. Send the command help for a list."


class TooLarge(AgentError):
    code = "too_large"
    default_message = "This message is too long. Send a shorter one."


class MethodNotAllowed(InvalidMessage):
    default_message = (
        "This address does not support the method. The header Allow lists those it supports."
    )


class RateLimited(AgentError):
    code = "rate_limited"
    retryable = True
    default_message = "Too many messages. Wait a moment and try again."


class QueueFull(AgentError):
    code = "queue_full"
    retryable = True
    default_message = "Too many questions are waiting in this session. Wait for an answer first."


class Busy(AgentError):
    code = "busy"
    retryable = True
    default_message = "The agent is still busy in this session. Try again when it has answered."


class Overloaded(Busy):
    """This process has no capacity for the request."""

    default_message = "The server is busy. Try again in a moment."


class Conflict(AgentError):
    code = "conflict"
    default_message = "This id was already used for another message. Choose a new id."


class NotFound(AgentError):
    code = "not_found"
    default_message = "There is no such thing here, or it is not yours."


class SessionGone(NotFound):
    """The session of a connection was deleted."""

    default_message = "This session was deleted. Start a new one."


class Unauthenticated(AgentError):
    code = "unauthenticated"
    default_message = "Sign in to continue."


class Forbidden(AgentError):
    code = "forbidden"
    default_message = "You are not allowed to do this."


class ProviderUnavailable(AgentError):
    code = "provider_unavailable"
    retryable = True
    default_message = "The model is not available at the moment. Try again in a little while."


class AnswerUnreadable(ProviderUnavailable):
    """The provider's answer cannot be read. There is no retry, because the answer is paid for."""


class ProviderTimeout(AgentError):
    code = "provider_timeout"
    retryable = True
    default_message = "The model took too long to answer. Try again."


class ProviderRateLimited(AgentError):
    code = "provider_rate_limited"
    retryable = True
    default_message = "The model has too many requests at the moment. Try again in a little while."


class ProviderRejected(AgentError):
    code = "provider_rejected"
    default_message = (
        "The model's provider refused this request. If this goes on, tell the operator."
    )


class ContextTooLong(AgentError):
    code = "context_too_long"
    default_message = "The conversation is too long for the model. Clear it or start a new one."


class InternalError(AgentError):
    """Any other error. Its message and its log line contain the same `incident`."""

    code = "internal_error"
    retryable = True
    default_message = "Something went wrong on our side. Try again."

    def __init__(
        self, message: str = "", *, incident: str = "", retry_after: float | None = None
    ) -> None:
        self.incident = incident or secrets.token_hex(6)
        message = f"{message or self.default_message} (incident {self.incident})"
        super().__init__(message, retry_after=retry_after)


class StorageUnavailable(InternalError):
    """The database cannot be reached, or refuses writes."""

    default_message = (
        "Messages cannot be stored at the moment, so this was not done. Try again in a moment."
    )


class Restarting(InternalError):
    """This process is draining and accepts no new connections."""

    default_message = "The server is restarting. Try again in a moment."
