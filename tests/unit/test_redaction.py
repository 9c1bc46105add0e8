"""Secrets that should never have been logged are masked in every line, and nothing else is."""

import json
import os
import subprocess
import sys

import pytest

from agentsite.redaction import MASK, Redaction, secrets_of
from tests.support import ROOT

SECRET = "Zk3canaryQ9"
LONG = "Zk3canaryQ9-abcdefghijklmnopqrstuvwxyz_0123"
SIGNED = "7d0049557d0049557d0049557d004955"


def masked(text):
    return Redaction(()).line(None, "", text)


@pytest.mark.parametrize(
    "text",
    [
        f"Authorization: Bearer {SECRET}",
        f"authorization: Basic {SECRET}==",
        f"{{'Authorization': 'Bearer {SECRET}', 'Host': 'x'}}",
        f"[(b'authorization', b'Bearer {SECRET}'), (b'cookie', b'sessionid={SECRET}; a={SECRET}')]",
        f"Cookie: theme=dark; sessionid={SECRET}; other={SECRET}",
        f"Set-Cookie: agent_visitor={SECRET}; HttpOnly",
        f"sec-websocket-protocol: agent.v1, bearer.{SECRET}",
        f"offered ['agent.v1', 'bearer.{SECRET}']",
        f"sk-or-v1-{SECRET}",
        f"{SIGNED}.{LONG}",
        f"{SIGNED}:{LONG}",
        f"postgres://agent:{SECRET}@db.example.org:5432/agent",
        f"Error 111 connecting to redis://:{SECRET}@127.0.0.1:6379/0",
        f"GET /?token={SECRET}&x=1",
        f"password={SECRET}",
        f"OPENROUTER_API_KEY={SECRET}",
        f"'api_key': '{SECRET}'",
        f'{{"access_token": "{SECRET}"}}',
        f'{{"event": "headers {{\\"authorization\\": \\"Token {SECRET}\\"}}"}}',
        f"token {LONG} was refused",
    ],
)
def test_a_secret_is_masked_wherever_it_stands(text):
    assert "canary" not in masked(text)
    assert MASK in masked(text)


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-01T00:00:00.000Z [info] turn failed session=7c0e6f5a-1111-4222-8333-123456789abc",
        "turn=7c0e6f5a1111422283331234 worker=agent.0123456789abcdef01234567 attempt=2",
        "incident=5f2e9a1b0c3d error=OperationalError code=provider_unavailable",
        'File "/srv/agent/agent/consumers.py", line 77, in connect',
        "  self.worker, self.limits = self.runtime.worker, self.runtime.limits",
        "prompt_tokens=14 completion_tokens=40 max_tokens: 1500",
        "actor=visitor:0123456789abcdef0123456789abcdef actor=user:7",
        "test_a_message_beyond_the_servers_limit_ends_that_socket_and_no_other",
        "https://openrouter.ai/api/v1/chat/completions answered 503",
        "the bearer of this message; basic words; an author, a cook, secretive",
    ],
)
def test_ids_codes_and_places_stay(text):
    assert masked(text) == text


@pytest.mark.parametrize("run", ["a.", "bearer.", "basic ", "a_", "cookie ", "a://b:", "sk-", "A1"])
def test_a_long_line_takes_no_more_time_than_its_length(run):
    """A time that grows with the square of it would be a minute or more."""
    text = run * (600_000 // len(run))
    assert masked(text)


def test_a_field_with_a_secret_name_is_masked_whatever_is_in_it():
    event = {"event": "x", "token": "a b", "db_password": 1, "Cookie": ["a"], "prompt_tokens": 3}
    assert Redaction(()).fields(None, "", event) == {
        "event": "x",
        "token": MASK,
        "db_password": MASK,
        "Cookie": MASK,
        "prompt_tokens": 3,
    }


def test_the_secrets_of_this_deployment_are_known_by_value():
    secrets = secrets_of("plain words", "redis://:p%40ss%20word@127.0.0.1/0", "", "http://a/b", "x")
    redaction = Redaction(secrets)
    for secret in ("plain words", "p%40ss%20word", "p@ss word"):
        assert redaction.line(None, "", f"it is {secret}!") == f"it is {MASK}!"
    assert redaction.line(None, "", "an x stays") == "an x stays"


SCRIPT = """
import logging, structlog
import django
django.setup()
from django.db import connection
KEY, WORD, TOKEN = "an-odd-canary-key", "canary%20word", "Zk3canaryQ9"
log = structlog.get_logger("agent.test")
log.warning("one", session="7c0e6f5a-1111", turn="t-1", actor="user:7", token=TOKEN)
log.warning("headers", headers=[(b"authorization", b"Bearer " + TOKEN.encode())])
logging.getLogger("some.library").warning("GET %s", f"https://x/?token={TOKEN}")
logging.getLogger("redis").error("cannot reach redis://:canary%20word@127.0.0.1:1/0")
logging.getLogger("httpx").warning("key %s", KEY)
try:
    raise ValueError(f"bad key {KEY}, Authorization: Bearer {TOKEN}")
except ValueError:
    log.exception("two", code="internal_error")
    logging.getLogger("django.request").exception("three")
"""


@pytest.mark.parametrize("form", ["console", "json"])
def test_no_canary_gets_through_the_real_logging_in_any_form(form):
    environment = {
        "PATH": os.environ["PATH"],
        "ENV_FILE": "",
        "SECRET_KEY": "canary-" * 10,
        "DJANGO_SETTINGS_MODULE": "agentsite.settings",
        "OPENROUTER_API_KEY": "an-odd-canary-key",
        "REDIS_URL": "redis://:canary%20word@127.0.0.1:1/0",
        "LOG_FORMAT": form,
        "LOG_LEVEL": "DEBUG",
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "canary" not in done.stderr.replace("KEY, WORD", "")
    for kept in ("7c0e6f5a-1111", "t-1", "user:7", "internal_error", "ValueError", "two", "three"):
        assert kept in done.stderr
    if form == "json":
        lines = [json.loads(line) for line in done.stderr.splitlines()]
        assert len(lines) >= 7 and all("event" in line for line in lines)
