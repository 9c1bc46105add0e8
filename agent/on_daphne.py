"""daphne's protocols with our bounds; `server` runs them. Takes private attributes of Twisted,
autobahn and daphne. Importing this installs Twisted's reactor.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from daphne.http_protocol import HTTPFactory, WebRequest
from daphne.utils import INVALID_HEADER_VALUE_BYTES
from daphne.ws_protocol import WebSocketProtocol
from twisted.internet import reactor as _reactor
from twisted.internet import tcp

from .crowd import crowd
from .intake import BODY_BYTES, REQUEST_SECONDS, Intake

reactor: Any = _reactor  # the module becomes the reactor when it is installed


class Connection(tcp.Server):
    """A TCP connection whose requests have to arrive in time."""

    _deadline: Any = None

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        crowd().arrive(self._host(), self.fileno(), self, self._drop)
        self.expect()

    def _host(self) -> str:
        peer: Any = self.getPeer()  # type: ignore[no-untyped-call]
        return str(getattr(peer, "host", ""))

    def _drop(self) -> None:
        reactor.callLater(0, self.abortConnection)  # a new one is not set up yet

    def expect(self) -> None:
        """A request is to be here soon."""
        if self._deadline is None:
            self._deadline = reactor.callLater(REQUEST_SECONDS, self.abortConnection)

    def expect_nothing(self) -> None:
        if self._deadline and self._deadline.active():
            self._deadline.cancel()
        self._deadline = None

    def connectionLost(self, reason: Any) -> None:
        self.expect_nothing()
        crowd().leave(self._host(), self)
        super().connectionLost(reason)


class Request(WebRequest):  # type: ignore[misc]
    """A request with a body that has an end."""

    _arrived = 0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._connection: Any = self.channel.transport  # our Connection
        self._connection.expect()

    def gotLength(self, length: int | None) -> None:
        if length and length > BODY_BYTES:
            self._connection.abortConnection()
        super().gotLength(length)

    def handleContentChunk(self, data: bytes) -> None:
        self._arrived += len(data)
        if self._arrived > BODY_BYTES:
            self._connection.abortConnection()
        else:
            super().handleContentChunk(data)

    def process(self) -> Any:
        self._connection.expect_nothing()
        if cookies := self.requestHeaders.getRawHeaders(b"cookie"):
            self.requestHeaders.setRawHeaders(b"cookie", [_one_header(cookies)])
        return super().process()


def _one_header(cookies: list[bytes]) -> bytes:
    """Cookie headers as one. daphne would join them with commas for a WebSocket.

    Without the cookies of other programs for whose bytes it refuses the whole request: letters
    in UTF-8 have them. Ours are ASCII.
    """
    each = b"; ".join(cookies).split(b";")
    return b";".join(one for one in each if not INVALID_HEADER_VALUE_BYTES.intersection(one))


class Factory(HTTPFactory):  # type: ignore[misc]
    def buildProtocol(self, addr: Any) -> Any:
        protocol = super().buildProtocol(addr)
        protocol.requestFactory = Request
        return protocol


class WebSocket(WebSocketProtocol):  # type: ignore[misc]
    """A connection that is read no faster than it is worked on."""

    _fragments = 0

    def connectionMade(self) -> None:
        self.intake = Intake(self, lambda step: reactor.callLater(0, step), reactor.seconds)
        super().connectionMade()

    def dataReceived(self, data: bytes) -> None:
        if self.state == self.STATE_OPEN:
            self.intake.take(data)
        else:
            super().dataReceived(data)

    def serverClose(self, code: int | None = None) -> None:
        super().serverClose(code)
        self.intake.closing()

    def onPing(self, payload: bytes) -> None:
        super().onPing(payload)
        self.intake.control_frame()

    def onPong(self, payload: bytes) -> None:
        super().onPong(payload)
        self.intake.control_frame()

    def onMessageBegin(self, isBinary: bool) -> None:
        self._fragments = 0
        super().onMessageBegin(isBinary)

    def onMessageFrameBegin(self, length: int) -> None:
        super().onMessageFrameBegin(length)
        self._fragments += 1
        self.intake.fragment(self._fragments)

    # of its intake

    def feed(self, piece: bytes) -> None:
        super().dataReceived(piece)

    def is_busy(self) -> bool:
        return self.state == self.STATE_OPEN and not self.application_queue.empty()

    def pause(self) -> None:
        self.transport.pauseProducing()

    def resume(self) -> None:
        if self.transport.connected and not self.transport.disconnecting:
            self.transport.resumeProducing()

    def drop(self) -> None:
        self.transport.abortConnection()


def paced(application: Any) -> Any:
    """The application, whose reading lets the intake of its connection go on."""

    async def run(scope: Any, receive: Callable[[], Awaitable[Any]], send: Any) -> None:
        protocol = send.args[0]

        async def taken() -> Any:
            message = await receive()
            protocol.intake.go_on()
            return message

        await application(scope, taken if scope["type"] == "websocket" else receive, send)

    return run
