"""What clients chose is in no log line at length, and cannot look like a line of its own."""

import io
import json
import logging
import re
import secrets
import sys
from contextlib import suppress

import pytest
import structlog
from django.test import Client
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agentsite import logs
from agentsite.redaction import MASK, Redaction

from .raw import Dropped, frame, raw

pytest_plugins = ["tests.servers"]

LONG = "w" * 60_000
#: A traceback has the most.
MOST = (logs.FIRST_LINES + logs.LAST_LINES + 2) * (logs.MOST_CHARS + 100)
_BEGINNING = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z \[\w+ *\] ")


def rendered(record):
    """A record as the log of this process has it."""
    formatters = [handler.formatter for handler in logging.getLogger().handlers]
    formatter = next(f for f in formatters if isinstance(f, structlog.stdlib.ProcessorFormatter))
    return formatter.format(logging.makeLogRecord(record.__dict__))


def record(message, *args, name="some.library", exc_info=None, **extra):
    made = logging.getLogger(name).makeRecord(
        name, logging.WARNING, "file", 1, message, args, exc_info, extra=extra
    )
    return rendered(made)


def requested(caplog, client, method, path, **options):
    """The lines of a request."""
    caplog.clear()
    client.generic(method, path, **options)
    return [rendered(one) for one in caplog.records]


@pytest.fixture
def client():
    return Client(enforce_csrf_checks=True, headers={"host": "127.0.0.1:8000"})


@pytest.mark.parametrize(
    ("method", "path", "route", "status"),
    [
        ("GET", "/secretive", None, 404),
        ("GET", "/secretive" + LONG, None, 404),
        ("GET", "/%0a2026%20[info]%20secretive%1b[31m", None, 404),
        ("GET", "/api/sessions/secretive/?cursor=secretive", "api/sessions/<session_id>/", 401),
        ("GET", f"/api/sessions/{LONG}/?cursor=secretive", "api/sessions/<session_id>/", 401),
        ("GET", "/logout/?secretive", "logout/", 405),
        ("POST", "/login/?next=secretive", "login/", 403),
        ("POST", "/login/secretive-é%1b", None, 404),
        ("GET", "/ws/agent/?session=secretive", "ws/agent", 400),
    ],
)
@pytest.mark.django_db
def test_a_request_is_logged_by_its_route(caplog, client, method, path, route, status):
    (line,) = requested(caplog, client, method, path)
    assert f"status_code={status}" in line and f"method={method}" in line
    assert "secretive" not in line and "www" not in line
    assert route is None or route in line
    assert len(line) < 500 and "\n" not in line


@pytest.mark.parametrize(
    ("headers", "kept"),
    [
        ({"host": "evil.test"}, "evil.test"),
        ({"host": f"evil.test{LONG}"}, "evil.test"),
        ({"host": "evil.test\n2026-01-01 [info] x"}, "evil.test"),
        ({"origin": f"http://evil.test/{LONG}"}, "evil.test"),
        ({"origin": "http://evil.test/?token=secretive\x1b[31m"}, "evil.test"),
        ({"referer": f"https://evil.test/?{LONG}"}, "evil.test"),
    ],
)
@pytest.mark.django_db
def test_a_refused_header_is_named_by_its_beginning(caplog, client, headers, kept):
    secure = "referer" in headers
    lines = requested(caplog, client, "POST", "/login/", headers=headers, secure=secure)
    (line,) = [line for line in lines if "django.security" in line]
    assert kept in line and "secretive" not in line
    assert len(line) < 800
    assert line.isprintable()


@pytest.mark.parametrize("form", [logging.WARNING, logging.ERROR])
def test_an_error_of_the_clients_has_no_traceback_and_one_of_ours_has(form):
    try:
        raise ValueError("secretive")
    except ValueError:
        info = sys.exc_info()
    theirs = record("Bad Request", exc_info=info, status_code=400)
    assert "Traceback" not in theirs and "secretive" not in theirs and "error=ValueError" in theirs
    ours = record("Internal Server Error: %s", "/path", exc_info=info, status_code=500)
    assert "Traceback" in ours and "/path" not in ours


def test_half_a_secret_is_in_no_line():
    secret = "Zk3canaryQ9" * 3
    bounds = logs.Bounds(Redaction([secret]))
    event = {"event": "x" * (logs.MOST_CHARS - 5) + secret, "values": ["y" * 490, secret]}
    cut = bounds(None, "", event)
    assert "Zk3c" not in f"{cut['event']}{cut['values']}" and MASK[:2] in cut["event"]


def test_a_line_that_cannot_be_rendered_is_named_without_its_values():
    handler = next(one for one in logging.getLogger().handlers if isinstance(one, logs.Stderr))
    broken = logging.makeLogRecord(
        {"msg": "%d secretive", "args": ("secretive",), "filename": "f.py", "lineno": 7}
    )
    stream = handler.setStream(io.StringIO())
    try:
        handler.handle(broken)
        assert handler.stream.getvalue() == (
            "a log line of f.py:7 could not be written: TypeError\n"
        )
    finally:
        handler.setStream(stream)


def test_what_is_short_and_plain_stays_as_it_is():
    event = {
        "event": "turn failed",
        "n": 1,
        "none": None,
        "yes": True,
        "list": ["a"],
        "é": "Ünï 👍",
    }
    assert logs.Bounds(Redaction(()))(None, "", dict(event)) == event


TEXTS = st.text(alphabet=st.characters(exclude_categories=()), max_size=200)


@settings(max_examples=200, deadline=None, database=None)
@given(TEXTS, TEXTS, TEXTS)
@example("\n2026-01-01T00:00:00Z [info] forged", "\r\x1b[2J\x85\u2028", "a\n" * 5000)
@example(LONG, LONG, LONG)
@example("%s %d", "%n", "\ud800")
def test_a_line_is_one_line_whatever_is_in_it(message, argument, of_exception):
    try:
        raise ValueError(of_exception)
    except ValueError:
        text = record("%s", message, exc_info=sys.exc_info()) + record(argument)
    first, *others = text.split("\n")
    assert _BEGINNING.match(first)
    assert all(line.startswith("    ") for line in others)
    assert first.isprintable() or not re.search("[\x00-\x1f\x7f-\x9f\u2028\u2029]", first)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029]", text)
    assert len(text) <= MOST


def test_the_event_of_json_is_bounded_too():
    event = {"event": "GET %s", "path": LONG, "exception": "\n".join([LONG] * 500)}
    assert len(json.dumps(logs.Bounds(Redaction(()))(None, "", event))) <= MOST


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


@pytest.mark.server
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
