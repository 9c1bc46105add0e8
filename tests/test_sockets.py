"""The protocol over real sockets of real servers: connecting, asking, and what is refused."""

import json
import re
import uuid
from datetime import datetime

import pytest
from websockets.exceptions import InvalidStatus

from .scripted_provider import expected_text

pytestmark = pytest.mark.server
pytest_plugins = ["tests.servers"]

PATHS = [
    "/ws/agent/",
    "/ws/agent",
    "/functions/v1/agent_websocket",
    "/functions/v1/agent_websocket/",
]


def has_row(server, session):
    sql = "SELECT count(*) FROM agent_session WHERE id = ?"
    return server.rows(sql, uuid.UUID(session).hex) == [(1,)]


# connecting


@pytest.mark.transports
async def test_the_welcome_is_the_first_frame_and_has_exactly_these_fields(server):
    async with server.connect() as client:
        welcome = await client.next()
        session, token = welcome.pop("session"), welcome.pop("resume_token")
        timestamp = datetime.fromisoformat(welcome.pop("timestamp"))
        assert welcome == {
            "type": "notification",
            "event": "connected",
            "level": "info",
            "content": f"Connected to agent_websocket. Session ID: {session}",
            "protocol": 1,
            "resumed": False,
            "last_seq": 0,
            "replay_from": 0,
            "agent": "agent_websocket",
            "model": "openai/gpt-4-turbo",
            "demo": False,
            "heartbeat": 25,
            "limits": {"query_chars": 32000, "frame_bytes": 262144, "queue": 20},
            "turns": [],
        }
        assert str(uuid.UUID(session)) == session
        assert re.fullmatch(r"[A-Za-z0-9._-]+", token)
        assert timestamp.utcoffset().total_seconds() == 0
        ready = await client.next()
        assert (ready["type"], ready["status"]) == ("status", "ready")


@pytest.mark.parametrize("path", PATHS)
async def test_a_path_works_with_and_without_a_slash_at_its_end(server, path):
    async with server.connect(path) as client:
        ref = await client.ask("say: here")
        assert (await client.end(ref))["content"] == "here"


@pytest.mark.transports
@pytest.mark.parametrize("path", ["/ws/", "/ws/agent/more", "/functions/v1/notify_websocket", "/"])
async def test_other_paths_take_no_websocket(server, path):
    with pytest.raises(InvalidStatus):
        async with server.connect(path):
            pass


@pytest.mark.parametrize("path", PATHS)
def test_plain_http_of_any_method_is_told_to_use_a_websocket(server, path):
    for method in ("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"):
        status, _, body = server.request(method, path)
        expected = "" if method == "HEAD" else "Expected WebSocket request"
        assert (status, body) == (400, expected), method


@pytest.mark.transports
async def test_the_sub_protocol_is_selected_when_it_is_offered(server):
    for offered, selected in (
        (["agent.v1"], "agent.v1"),
        (["other", "agent.v1"], "agent.v1"),
        (["other"], None),
        ([], None),
    ):
        async with server.connect(subprotocols=offered) as client:
            await client.ready()
            assert client.socket.subprotocol == selected


async def test_a_session_has_no_row_before_its_first_durable_frame(server):
    async with server.connect() as client:
        await client.ready()
        assert (await client.command("cancel"))["status"] == "done"
        assert (await client.command("history"))["frames"] == []
        assert not has_row(server, client.transcript.session)
        await client.end(await client.ask("say: hello"))
        assert has_row(server, client.transcript.session)


async def test_parameters_that_make_no_sense_are_as_good_as_none(server):
    async with server.connect(query={"last_seq": "x", "stream": "yes", "more": "1"}) as client:
        assert (await client.ready())["replay_from"] == 0
        await client.end(await client.ask("say: hello"))


# a query and its answer


@pytest.mark.transports
async def test_a_query_climbs_the_ladder_of_its_receipt(server):
    async with server.connect() as client:
        await client.ready()
        prompt = "mode=slow tokens=8 delay=0.05 cost=0.25"
        await client.ask(prompt, id="mine")
        query = await client.next()
        assert query["type"] == "query" and query["content"] == prompt
        assert query["seq"] == 1 and query["ref"] == "mine"
        turn = query["turn"]
        received = await client.next()
        assert received["status"] == "received" and received["ref"] == "mine"
        assert received["turn"] == turn and received["seq"] == 1
        thinking = await client.next()
        assert thinking["status"] == "thinking" and thinking["attempt"] == 1
        assert thinking["turn"] == turn and thinking["ref"] == "mine"
        delta = await client.next()
        assert delta["type"] == "delta" and delta["turn"] == turn
        assert delta.get("first", delta["index"]) == 0 and delta["attempt"] == 1
        response = await client.expect("response")
        assert response["seq"] == 2 and response["turn"] == turn and response["ref"] == "mine"
        assert response["content"] == expected_text(prompt)
        assert response["finish_reason"] == "stop" and response["author"] == "agent"
        assert response["model"] == "openai/gpt-4-turbo"
        usage = response["usage"]
        assert usage["prompt_tokens"] > 0
        assert (usage["completion_tokens"], usage["cost"]) == (8, 0.25)
        assert len({query["id"], response["id"], turn}) == 3


async def test_what_the_provider_does_not_tell_is_null(server):
    async with server.connect() as client:
        end = await client.end(await client.ask("mode=ok usage=none say: free"))
        tokens = ("prompt_tokens", "completion_tokens", "reasoning_tokens", "cached_tokens")
        assert end["usage"] == dict.fromkeys((*tokens, "cost"))


async def test_reasoning_streams_before_the_answer_and_is_part_of_the_response(server):
    async with server.connect() as client:
        ref = await client.ask("mode=reasoning tokens=9 delay=0.02")
        thinking = await client.expect("status", status="thinking", ref=ref)
        end = await client.end(ref)
        kinds = [f["type"] for f in client.frames if f["type"] in ("reasoning", "delta")]
        assert kinds[0] == "reasoning"
        assert kinds[-1] == "delta"
        assert client.transcript.reasoning(thinking["turn"]) == end["reasoning"]["content"]
        assert end["reasoning"]["content"].startswith("w0 w1 ")
        assert end["reasoning"]["ms"] > 0
        assert end["content"] == expected_text("mode=reasoning tokens=9")
    async with server.connect(stream=False) as client:
        ref = await client.ask("mode=reasoning tokens=9")
        assert (await client.end(ref))["reasoning"]["content"]
        assert not [f for f in client.frames if f["type"] in ("reasoning", "delta")]


@pytest.mark.parametrize("reason", ["stop", "length", "content_filter"])
async def test_a_response_says_why_the_model_stopped(server, reason):
    async with server.connect() as client:
        end = await client.end(await client.ask(f"mode=ok finish={reason} say: so far"))
        assert (end["type"], end["finish_reason"]) == ("response", reason)


@pytest.mark.parametrize("kind", [{"type": "query"}, {}, {"type": None}])
async def test_the_frame_of_an_original_client_is_a_query(server, kind):
    async with server.connect() as client:
        await client.ready()
        await client.send({"content": "say: as ever", "timestamp": "2023-01-01T00:00:00Z", **kind})
        response = await client.expect("response")
        assert response["content"] == "as ever"
        assert not any("ref" in frame for frame in client.frames)


async def test_unknown_fields_are_ignored_and_null_is_absent(server):
    async with server.connect() as client:
        nothing = dict.fromkeys(["priority", "on_busy", "replaces"])
        ref = await client.ask("say: fine", colour="red", **nothing)
        assert (await client.end(ref))["content"] == "fine"


@pytest.mark.transports
async def test_text_of_every_kind_comes_through_unharmed(server):
    text = 'naïve 👩‍👩‍👧 \u2028 \u0085 \U0010ffff \x01 \\ " </script> ﷽ e\u0301'
    async with server.connect() as client:
        ref = await client.ask(f"mode=slow delay=0.02 bytes=1 say: {text}")
        end = await client.end(ref)
        assert end["content"] == text
        query = client.transcript.queries[0]
        assert query["content"].endswith(text)


async def test_deltas_number_their_pieces_from_zero_without_a_hole(server):
    async with server.connect() as client:
        ref = await client.ask("mode=stall after=40 tokens=50 delay=0.02")
        held = await client.expect("delta")
        assert held.get("first", held["index"]) == 0
        expected = expected_text("mode=stall after=40 tokens=50")
        while client.transcript.text(held["turn"]) != expected:
            await client.expect("delta", turn=held["turn"], attempt=1)
        await client.command("cancel", ref=ref)
        end = await client.end(ref)
        assert (end["finish_reason"], end["content"]) == ("cancelled", expected)


async def test_without_a_stream_there_are_no_deltas_and_no_snapshot(server):
    async with server.connect(stream=False) as client:
        ref = await client.ask("mode=slow tokens=40 delay=0.05")
        await client.expect("status", status="thinking")
        async with server.connect(stream=False, headers=client.credentials) as other:
            await other.expect("status", status="thinking")
            await other.ready()
            await other.end(ref)
        await client.end(ref)
        for one in (client, other):  # the transcript would have protested, too
            assert not [frame for frame in one.frames if frame["type"] == "delta"]


async def test_a_conversation_is_what_the_model_is_given(server, provider):
    canary = uuid.uuid4().hex
    async with server.connect() as client:
        await client.end(await client.ask("say: one"))
        await client.end(await client.ask(f"say: {canary}"))
    (request,) = [each for each in provider.requests() if canary in each["prompt"]]
    assert [message["role"] for message in request["body"]["messages"]] == [
        "system",
        "user",
        "assistant",
        "user",
    ]
    assert request["body"]["messages"][2]["content"] == "one"


# failures of the model's side


@pytest.mark.parametrize(
    ("prompt", "code", "retryable"),
    [
        ("mode=status status=401", "provider_rejected", False),
        ("mode=status status=402", "provider_rejected", False),
        ("mode=status status=403 body=echo", "provider_rejected", False),
        ("mode=status status=400 body=context", "context_too_long", False),
        ("mode=status status=429 retry_after=3600", "provider_rate_limited", True),
        ("mode=status status=503 retry_after=3600", "provider_unavailable", True),
        ("mode=error_event after=3", "provider_unavailable", True),
        ("mode=error_event after=3 code=429", "provider_rate_limited", True),
        ("mode=cut after=2", "provider_unavailable", True),
        ("mode=rst after=2", "provider_unavailable", True),
        ("mode=truncated after=2", "provider_unavailable", True),
        ("mode=junk after=1", "provider_unavailable", True),
    ],
)
async def test_a_failure_of_the_provider_ends_the_turn_with_one_error(
    server, prompt, code, retryable
):
    canary = uuid.uuid4().hex
    prompt = f"{prompt} tokens=9 canary={canary}"
    async with server.connect() as client:
        ref = await client.ask(prompt)
        error = await client.end(ref)
        assert (error["type"], error["code"], error["retryable"]) == ("error", code, retryable)
        assert error["partial"] == expected_text(prompt)
        assert error["content"] and canary not in error["content"]
        assert "w0" not in error["content"]
        after = await client.ask("say: and on")
        assert (await client.end(after))["content"] == "and on"
    server_log = server.log
    assert canary not in server_log and "Provider returned error" not in server_log


async def test_an_error_of_the_provider_tells_when_to_try_again(server):
    async with server.connect() as client:
        error = await client.end(await client.ask("mode=status status=429 retry_after=3600"))
        assert error["retry_after"] >= 3500


# what is refused


def deep(opening, closing, times=100_000):
    return opening * times + closing * times


def query(**fields):
    return json.dumps({"type": "query", "content": "say: no", "id": "bad", **fields})


def command(name, **args):
    return json.dumps({"type": "command", "content": name, "args": args, "id": "bad"})


REFUSED = {
    "invalid_json": {
        "nothing": "",
        "blank": "  ",
        "words": "hello",
        "a_list": '[{"content":"x"}]',
        "a_string": '"x"',
        "a_number": "1",
        "null": "null",
        "cut": '{"content":"x"',
        "more_after_it": '{"content":"x"} {}',
        "a_byte_order_mark": '\ufeff{"content":"x"}',
        "single_quotes": "{'content':'x'}",
        "a_trailing_comma": '{"content":"x",}',
        "a_comment": '{"content":"x"/**/}',
        "a_raw_newline": '{"content":"a\nb"}',
        "a_raw_nul": '{"content":"a\0b"}',
        "binary": b'{"content":"say: binary"}',
        "empty_binary": b"",
        "deep_lists": deep("[", "]"),
        "deep_objects": deep('{"a":', "}", 20_000),
        "deep_within_an_object": '{"content":"x","args":' + deep("[", "]", 5000) + "}",
        "open_brackets": "[" * 100_000,
        "not_a_number": '{"content":"x","id":NaN}',
        "infinity": '{"content":"x","args":{"before":Infinity}}',
        "minus_infinity": '{"content":"x","args":-Infinity}',
        "a_huge_float": '{"content":"x","args":1e999}',
        "a_huge_integer": '{"content":"x","args":' + "9" * 5000 + "}",
        "a_key_twice": '{"content":"x","content":"y"}',
        "an_inner_key_twice": '{"content":"x","args":{"a":1,"a":2}}',
        "a_lone_high_surrogate": '{"content":"\\ud800"}',
        "a_lone_low_surrogate": '{"content":"a\\udc00b"}',
        "a_surrogate_in_a_key": '{"content":"x","\\ud800":1}',
    },
    "invalid_message": {
        "an_empty_object": "{}",
        "no_content": '{"type":"query"}',
        "null_content": query(content=None),
        "empty_content": query(content=""),
        "a_number_as_content": query(content=1),
        "a_list_as_content": query(content=["x"]),
        "nul": query(content="a\0b"),
        "nul_in_a_key": '{"content":"x","\\u0000":1}',
        "nul_in_an_unknown_field": query(colour=["\0"]),
        "a_number_as_type": query(type=1),
        "an_object_as_type": query(type={}),
        "true_as_type": query(type=True),
        "an_empty_id": query(id=""),
        "a_long_id": query(id="x" * 65),
        "a_number_as_id": query(id=1),
        "a_priority_that_is_none": query(priority="urgent"),
        "a_number_as_priority": query(priority=1),
        "an_on_busy_that_is_none": query(on_busy="drop"),
        "a_number_as_replaces": query(replaces=1),
        "a_command_without_a_name": '{"type":"command"}',
        "a_command_with_a_number": '{"type":"command","content":1}',
        "args_that_are_a_list": '{"type":"command","content":"help","args":[]}',
        "too_little_history": command("history", limit=0),
        "too_much_history": command("history", limit=101),
        "history_of_a_word": command("history", limit="5"),
        "history_of_true": command("history", limit=True),
        "history_before_a_word": command("history", before="x"),
        "cancel_of_a_number": command("cancel", turn=1),
        "cancel_of_some": command("cancel", all="yes"),
        "retry_of_nothing": command("retry"),
        "rename_to_nothing": command("rename"),
        "rename_to_an_empty_title": command("rename", title=""),
        "rename_to_a_number": command("rename", title=5),
        "resume_from_a_word": command("resume", last_seq="x"),
        "feedback_without_a_rating": '{"type":"human_feedback"}',
        "feedback_of_another_kind": '{"type":"human_feedback","rating":"sideways"}',
        "feedback_of_a_number": '{"type":"human_feedback","rating":1}',
    },
    "unknown_type": {
        "a_layer_message": '{"type":"websocket.disconnect","code":1000}',
        "a_handler": '{"type":"websocket_disconnect"}',
        "a_session_event": '{"type":"session","seq":1}',
        "a_server_frame": '{"type":"response","content":"x"}',
        "another_case": query(type="Query"),
        "an_empty_type": query(type=""),
    },
    "unknown_command": {
        "a_command_that_is_none": command("explode"),
        "an_empty_command": command(""),
        "a_method": command("__init__"),
    },
    "too_large": {
        "a_long_query": query(content="x" * 32_001),
        "a_long_query_of_emoji": query(content="👍" * 32_001),
        "a_long_comment": '{"type":"human_feedback","rating":"up","content":"%s"}' % ("x" * 4001),
        "a_large_frame": query(padding="x" * 262_144),
        "a_large_frame_of_emoji": json.dumps({"padding": "👍" * 70_000}, ensure_ascii=False),
        "257_kib": "x" * 257 * 1024,
    },
}


@pytest.mark.parametrize(
    ("code", "name"), [(code, name) for code, names in REFUSED.items() for name in names]
)
async def test_a_bad_frame_is_answered_and_the_socket_lives(server, code, name):
    async with server.connect() as client:
        await client.ready()
        await client.send_raw(REFUSED[code][name])
        error = await client.next()
        assert (error["type"], error["code"]) == ("error", code), error
        assert error["retryable"] is False and "seq" not in error
        await client.quiet()
        assert len(client.frames) == 4, "nothing but welcome, ready, error and pong"
        assert not has_row(server, client.transcript.session)


async def test_an_error_carries_the_id_of_the_frame_that_it_is_about(server):
    async with server.connect() as client:
        bad = (query(content=""), query(content="a\0"), query(type="x"), command("explode"))
        for frame in (*bad, command("retry")):
            await client.send_raw(frame)
            assert (await client.expect("error"))["ref"] == "bad"
        await client.send_raw(json.dumps({"content": "", "id": "x" * 65}))
        assert "ref" not in await client.expect("error")


async def test_an_empty_message_gets_the_words_of_the_original(server):
    async with server.connect() as client:
        await client.send_raw("{}")
        assert (await client.expect("error"))["content"] == "Message content is required"


async def test_an_unknown_type_or_command_is_told_the_known_ones(server):
    async with server.connect() as client:
        await client.send_raw(query(type="x"))
        words = (await client.expect("error"))["content"]
        assert all(name in words for name in ("query", "command", "human_feedback", "ping"))
        words = (await client.command("explode"))["content"]
        names = ("help", "cancel", "history", "resume", "clear", "retry", "rename", "close")
        assert all(name in words for name in names)


@pytest.mark.transports
async def test_the_largest_frames_are_taken(server):
    async with server.connect() as client:
        ref = await client.ask("👍" * 32_000)
        assert (await client.end(ref))["content"].endswith("👍")
        frame = query(id="padded", padding="")
        padding = "x" * (262_144 - len(frame))
        await client.send_raw(query(id="padded", padding=padding))
        assert (await client.end("padded"))["content"] == "no"


async def test_a_message_beyond_the_servers_limit_ends_that_socket_and_no_other(server):
    async with server.connect() as neighbour, server.connect() as client:
        await neighbour.ready()
        await client.ready()
        await client.send_raw("x" * (2**20 + 100_000))
        code, _ = await client.closed()
        assert code in (1009, 1006)
        await neighbour.end(await neighbour.ask("say: fine"))


@pytest.mark.transports
async def test_twenty_bad_frames_in_a_row_are_the_end(server):
    async with server.connect() as client:
        await client.ready()
        for _ in range(19):
            await client.send_raw("?")
        await client.quiet()
        for bad in ("?", "{}", query(type="x"), command("explode")) * 5:
            await client.send_raw(bad)
        code, _ = await client.closed()
        assert code == 4400
        errors = [frame for frame in client.frames if frame["type"] == "error"]
        assert len(errors) == 39


async def test_another_error_between_bad_frames_begins_the_count_anew(server):
    async with server.connect() as client:
        await client.ready()
        for bad in ["?"] * 19 + [query(content="x" * 32_001)] + ["?"] * 19:
            await client.send_raw(bad)
        await client.quiet()


async def test_frames_that_are_too_large_do_not_make_a_client_a_broken_one(server):
    async with server.connect() as client:
        for _ in range(21):
            await client.send_raw(query(content="x" * 32_001))
        await client.quiet()
        assert len([f for f in client.frames if f.get("code") == "too_large"]) == 21


# small things


async def test_a_ping_is_answered_with_a_pong_and_a_pong_with_nothing(server):
    async with server.connect() as client:
        await client.ready()
        await client.send({"type": "pong"})
        await client.send({"type": "ping"})
        pong = await client.next()
        assert pong["type"] == "pong" and "ref" not in pong
        await client.send({"type": "ping", "id": "p"})
        assert (await client.next())["ref"] == "p"


async def test_help_lists_the_commands(server):
    async with server.connect() as client:
        reply = await client.command("help")
        assert (reply["type"], reply["status"]) == ("status", "done")
        names = ("help", "cancel", "history", "resume", "clear", "retry", "rename", "close")
        assert all(name in reply["content"] for name in names)


async def test_history_gives_pages_of_durable_frames_oldest_first(server):
    async with server.connect() as client:
        for word in ("one", "two", "three"):
            await client.end(await client.ask(f"say: {word}"))
        newest = await client.command("history", limit=2)
        assert newest["has_more"] is True
        assert [frame["seq"] for frame in newest["frames"]] == [5, 6]
        older = await client.command("history", before=5, limit=100)
        assert older["has_more"] is False
        assert [frame["seq"] for frame in older["frames"]] == [1, 2, 3, 4]
        held = client.transcript.frames
        for frame in older["frames"] + newest["frames"]:
            assert frame == held[frame["seq"]]
        assert (await client.command("history", before=1))["frames"] == []
        assert len((await client.command("history"))["frames"]) == 6
