"""Requests that are under way when their connection or the server process ends."""

import socket
import struct
import time
from contextlib import ExitStack

import pytest

from tests.support.services import HOST

_POST = "POST /login/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n"
UNDER_WAY = {
    "nothing": "",
    "a letter": "P",
    "half a header": "GET / HTTP/1.1\r\nHost: local",
    "half a handshake": "GET /ws/agent/ HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n",
    "no body": f"{_POST}Content-Length: 100\r\n\r\n",
    "half a body": f"{_POST}Content-Length: 100\r\n\r\nuser",
    "half a body of the API": "POST /api/notifications HTTP/1.1\r\nHost: localhost\r\n"
    "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{",
    "half a chunk": f"{_POST}Transfer-Encoding: chunked\r\n\r\n5\r\nus",
    "asked whether to go on": f"{_POST}Expect: 100-continue\r\nContent-Length: 100\r\n\r\n",
    "half a request after a whole one": "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    f"{_POST}Content-Length: 9\r\n\r\nu",
    "answers that nobody reads": 200
    * "GET /static/agent/vendor/purify.js HTTP/1.1\r\nHost: localhost\r\n\r\n",
}
_RESET = struct.pack("ii", 1, 0)


def test_what_is_under_way_ends_with_the_server_and_without_an_error(start_server):
    server = start_server()
    with ExitStack() as stack:
        for text in UNDER_WAY.values():
            one = stack.enter_context(socket.create_connection((HOST, server.port)))
            one.sendall(text.encode())
        time.sleep(0.5)  # it has them
        server.stop()
    assert "[error" not in server.log, server.log
    server.assert_nothing_broke()


@pytest.mark.parametrize("name", ["answers that nobody reads", "half a body"])
def test_a_connection_that_is_reset_is_no_error(server, name):
    since = len(server.log)
    for _ in range(10):
        with socket.create_connection((HOST, server.port)) as one:
            one.sendall(UNDER_WAY[name].encode())
            time.sleep(0.1)  # it works on them
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    assert server.request("GET", "/healthz")[0] == 200
    assert "[error" not in server.log[since:], server.log[since:]
