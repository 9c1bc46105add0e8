"""What clients chose is in no log line at length, and cannot look like a line of its own."""

import json
import re
import secrets
from contextlib import suppress

from tests.support.raw import Dropped, frame, raw

_BEGINNING = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z \[\w+ *\] ")


NASTY = [
    b"GET /" + b"w" * 8000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /?" + b"w" * 8000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /?\xff\xfe HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /%ff%fe%0a%1b[31m HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /api/sessions/" + b"w" * 8000 + b"/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: " + b"w" * 8000 + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: \xe2\x80\xa8\x1b[31m\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.test\r\n\r\n",
    b"W" * 2000 + b" / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"PROPFIND / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: " + b"w" * 8000 + b"\r\n\r\n",
    b"POST /login/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nOrigin: "
    + b"w" * 8000
    + b"\r\n\r\n",
    b"POST /login/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nContent-Type: "
    b"multipart/form-data; boundary=" + b"w" * 8000 + b"\r\n\r\nabc",
    b"GET / HTTP/9.9\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x1b\x85" * 200 + b"\r\n\r\n",
    b"GET http://[ HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /ws/agent/?" + b"w" * 8000 + b" HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n"
    b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n",
    b"GET /ws/agent/ HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: w\r\nSec-WebSocket-Version: 99\r\nOrigin: " + b"w" * 8000 + b"\r\n\r\n",
]


async def test_the_log_of_a_server_holds_little_of_what_strangers_send(server):
    before = len(server.log)
    for request in NASTY:
        async with raw(server.port, websocket=False) as one:
            with suppress(Dropped, ConnectionError):
                await one.write(request)
                await one.reader.read(100)
    for payload in (b"{" * 5000, b"\xff\xfe", json.dumps({"type": "w" * 5000}).encode()):
        with suppress(Dropped):
            async with raw(server.port) as one:
                await one.write(frame(1, payload))
                await one.read()
                await one.read()
    mark = secrets.token_hex(8)
    server.request("GET", "/", {"Host": mark})
    log = server.log[before:]
    assert mark in log
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028]", log)
    for line in log.splitlines():
        assert _BEGINNING.match(line), line
        assert len(line) < 1000 and line.count("w") < 400, line
