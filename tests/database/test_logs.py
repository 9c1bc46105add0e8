"""What clients chose is in no log line at length, and cannot look like a line of its own."""

import logging

import pytest
import structlog
from django.test import Client

LONG = "w" * 60_000


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
