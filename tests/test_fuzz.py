"""Whatever a client sends, it gets an answer that the protocol knows; nothing else happens."""

import json
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.errors import AgentError
from agent.protocol.client_frames import COMMANDS, Command, parse_client_frame
from agent.protocol.strict_json import parse_object, refuse_nul
from tests.raw import TEXT

from .fuzz.cases import TEMPLATES, message
from .fuzz.run import run

pytest_plugins = ["tests.servers"]

_REFUSED = {"invalid_json", "invalid_message", "unknown_type", "unknown_command", "too_large"}

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec=None), max_size=80)
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)
names = st.sampled_from(
    ["type", "content", "id", "args", "rating", "target", "priority", "on_busy"]
)
frames = st.builds(
    lambda template, others: {**template, **others},
    st.sampled_from(TEMPLATES) | st.just({}),
    st.dictionaries(names | st.text(max_size=8), values, max_size=4),
)


def read(text):
    """What the consumer does with a text: a frame, or the error that the client is told."""
    try:
        fields = parse_object(text)
        refuse_nul(text, fields)
        return parse_client_frame(fields, max_query_chars=100)
    except AgentError as error:
        assert error.code in _REFUSED, error.code
        assert not error.retryable and error.message
        return error


@settings(max_examples=500, deadline=None)
@given(frames)
def test_any_object_is_a_frame_or_a_named_error(fields):
    got = read(json.dumps(fields))
    if isinstance(got, AgentError):
        return
    storable = json.dumps(got.model_dump(mode="json"), ensure_ascii=False)
    assert "\\u0000" not in storable
    storable.encode()  # no lone surrogate got in
    if isinstance(got, Command):
        assert type(got.args) in COMMANDS.values()


@settings(max_examples=500, deadline=None)
@given(st.text(st.characters(codec=None)) | st.text(st.sampled_from('{}[]",:\\u0123eE.-tfn \0')))
def test_any_text_is_a_frame_or_a_named_error(text):
    read(text)


def test_mutated_frames_are_frames_or_named_errors():
    dice, seen = Random(11), set()
    for _ in range(3000):
        opcode, payload = message(dice)
        if opcode == TEXT:
            got = read(payload.decode())
            seen.add(got.code if isinstance(got, AgentError) else type(got).__name__)
    assert seen >= _REFUSED | {"Query", "Command", "HumanFeedback", "Ping", "Pong"}


async def test_a_server_lives_through_a_run_and_serves_its_other_clients(server):
    report = await run(server, seed=20260101, seconds=60, messages=300)
    assert report.messages == 300
    assert report.answers["invalid_json"] > 50 and report.answers["response"] > 10
    assert report.ended["as they must"] > 30
    assert "internal_error" not in report.answers
    assert report.rss_mb["after"] - report.rss_mb["before"] < 30
