"""The original's JavaScript client, as its description shows it, against our servers."""

import json

import pytest

from tests.node import run_node

from .scripted_provider import expected_text
from .servers import ROOT, Server
from .services import HOST

pytestmark = [pytest.mark.server, pytest.mark.node]
pytest_plugins = ["tests.servers"]

PATH = "/functions/v1/agent_websocket"


def talk(server, *questions):
    """What the page of an original client shows: pairs of a kind and its words."""
    address = f"ws://{HOST}:{server.port}{PATH}"
    done = run_node(str(ROOT / "tests/js/original.mjs"), address, *questions)
    assert done.returncode == 0, done.stdout + done.stderr + server.log_tail()
    return [tuple(json.loads(line)) for line in done.stdout.splitlines()]


def words(shown, kind):
    return [content for name, content in shown if name == kind]


def test_it_holds_a_conversation(server):
    questions = ("Tell me about WebSocket technology.", "say: second")
    shown = talk(server, *questions)
    assert shown[0][0] == "notification"
    assert shown[0][1].startswith("Connected to agent_websocket. Session ID: ")
    assert words(shown, "response") == [expected_text(question) for question in questions]
    assert words(shown, "status").count("Thinking...") == len(questions)
    assert not words(shown, "error")


def test_it_is_told_of_errors_and_goes_on(server):
    shown = talk(server, "", "mode=status status=401", "say: fine")
    missing, failed = words(shown, "error")
    assert missing == "Message content is required"
    assert "refused" in failed
    assert words(shown, "response") == ["fine"]


def test_it_talks_to_the_demo_model():
    with Server() as server:
        shown = talk(server, "Hello")
        assert "offline demo model" in words(shown, "response")[0]
        server.assert_nothing_broke()
