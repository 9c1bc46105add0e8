"""Frames of clients are parsed or refused with a clear error; frames of the server are exact."""

from datetime import UTC, datetime, timedelta, timezone
from uuid import uuid4

import pytest

from agent.errors import (
    AgentError,
    InvalidMessage,
    ProviderRateLimited,
    TooLarge,
    UnknownCommand,
    UnknownType,
)
from agent.protocol import client_frames, server_frames


def parse(**fields):
    return client_frames.parse_client_frame(fields, max_query_chars=10)


def test_a_frame_without_type_is_a_query_with_defaults():
    query = parse(content="hi", timestamp="2023-01-01T00:00:00.000Z")
    assert query == client_frames.Query(type="query", content="hi")
    assert (query.priority, query.on_busy, query.replaces) == ("normal", "queue", None)


def test_null_means_absent():
    query = parse(type=None, content="hi", id=None, priority=None, on_busy=None, replaces=None)
    assert query == client_frames.Query(type="query", content="hi")
    command = parse(type="command", content="cancel", args=None)
    assert command.args == client_frames.Cancel()
    page = parse(type="command", content="history", args={"before": None, "limit": None})
    assert page.args == client_frames.History()


def test_the_null_rating_is_a_withdrawal_and_a_missing_one_an_error():
    assert parse(type="human_feedback", rating=None).rating is None
    with pytest.raises(InvalidMessage, match="rating"):
        parse(type="human_feedback")


@pytest.mark.parametrize("fields", [{}, {"content": None}, {"content": ""}, {"type": "query"}])
def test_a_query_needs_content(fields):
    with pytest.raises(InvalidMessage) as caught:
        parse(**fields)
    assert caught.value.message == "Message content is required"


@pytest.mark.parametrize(
    "fields",
    [
        {"content": 5},
        {"content": ["x"]},
        {"content": "x", "id": ""},
        {"content": "x", "id": "i" * 65},
        {"content": "x", "id": 7},
        {"content": "x", "priority": "urgent"},
        {"content": "x", "on_busy": "wait"},
        {"content": "x", "type": 3},
        {"type": "command", "content": "cancel", "args": []},
        {"type": "command", "content": "cancel", "args": {"all": "yes"}},
        {"type": "command", "content": "history", "args": {"limit": 101}},
        {"type": "command", "content": "history", "args": {"limit": 0}},
        {"type": "command", "content": "history", "args": {"before": -1}},
        {"type": "command", "content": "retry"},
        {"type": "command", "content": "rename", "args": {"title": ""}},
        {"type": "human_feedback", "rating": "sideways"},
    ],
)
def test_a_wrong_field_is_an_invalid_message(fields):
    with pytest.raises(InvalidMessage):
        parse(**fields)


def test_the_words_of_an_error_name_the_field_and_not_its_value():
    with pytest.raises(InvalidMessage) as caught:
        parse(content="x", priority="my-secret")
    assert "priority" in caught.value.message
    assert "my-secret" not in caught.value.message


def test_unknown_types_and_commands_list_the_known_ones():
    with pytest.raises(UnknownType, match="query, command, human_feedback, ping, pong"):
        parse(type="websocket.disconnect", content="x")
    with pytest.raises(UnknownCommand, match="help, cancel, history"):
        parse(type="command", content="selfdestruct")


def test_content_is_counted_in_code_points():
    assert parse(content="\U0001f600" * 10).content
    with pytest.raises(TooLarge):
        parse(content="\U0001f600" * 11)


def test_unknown_fields_are_ignored():
    assert parse(content="x", color="red", session="foreign") == parse(content="x")


def test_help_names_every_command():
    assert [line.split(":")[0] for line in client_frames.help_text().splitlines()] == [
        "help",
        "cancel",
        "history",
        "resume",
        "clear",
        "retry",
        "rename",
        "close",
    ]


def test_moments_are_written_in_utc_with_milliseconds():
    moment = datetime(2026, 1, 1, 2, 0, 0, 999_900, timezone(timedelta(hours=2)))
    assert server_frames.rfc3339(moment) == "2026-01-01T00:00:00.999Z"
    assert server_frames.rfc3339(datetime(2026, 1, 1, tzinfo=UTC)) == "2026-01-01T00:00:00.000Z"


def test_absent_fields_are_left_out_but_unknown_usage_is_null():
    frame = server_frames.Response(
        id=uuid4(),
        turn=uuid4(),
        ref=None,
        finish_reason="stop",
        model=None,
        usage=server_frames.Usage(prompt_tokens=3),
        content="hi",
    ).frame()
    assert "ref" not in frame
    unknown = ("completion_tokens", "cost", "reasoning_tokens", "cached_tokens")
    assert frame["usage"] == {"prompt_tokens": 3, **dict.fromkeys(unknown)}
    assert not {"reasoning", "sources"} & frame.keys()
    assert frame["author"] == "agent"


def test_a_withdrawn_rating_is_sent_as_null():
    frame = server_frames.Feedback(id=uuid4(), target=uuid4(), rating=None).frame()
    assert frame["rating"] is None
    assert "ref" not in frame


def test_an_error_frame_tells_code_retryable_and_when():
    frame = server_frames.Error.of(ProviderRateLimited(retry_after=7), ref="q1").frame()
    assert frame["code"] == "provider_rate_limited"
    assert frame["retryable"] is True
    assert frame["retry_after"] == 7
    assert frame["ref"] == "q1"
    assert "seq" not in frame
    assert "turn" not in frame


def test_every_error_has_a_code_of_the_protocol():
    def tree(kind):
        return {kind} | {leaf for child in kind.__subclasses__() for leaf in tree(child)}

    codes = {kind.code for kind in tree(AgentError) - {AgentError}}
    assert codes == {
        "invalid_json",
        "invalid_message",
        "unknown_type",
        "unknown_command",
        "too_large",
        "rate_limited",
        "queue_full",
        "busy",
        "conflict",
        "not_found",
        "unauthenticated",
        "forbidden",
        "provider_unavailable",
        "provider_timeout",
        "provider_rate_limited",
        "provider_rejected",
        "context_too_long",
        "internal_error",
    }


def test_frames_are_sent_as_compact_unicode():
    assert server_frames.encode({"content": "grüß\u2028"}) == '{"content":"grüß\u2028"}'
