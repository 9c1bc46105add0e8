"""Coming back: replay, the snapshot of the running answer, and other connections meanwhile."""

import asyncio

import pytest

from .client import Transcript, is_durable, is_terminal
from .servers import Server

pytestmark = pytest.mark.server
pytest_plugins = ["tests.servers"]

STALLED = "mode=stall tokens=50 after=6"
STALLED_TEXT = "w0 w1 w2 w3 w4 w5 "
SLOW = "mode=slow tokens=60 delay=0.02"
SLOW_TEXT = "".join(f"w{n} " for n in range(60))


async def has_text(client, text):
    """Wait until the client holds at least this text of the running answer."""
    held = ""
    while not held.startswith(text):
        delta = await client.expect("delta")
        held = delta["content"] if delta.get("snapshot") else held + delta["content"]


def replayed(client):
    return [frame["seq"] for frame in client.frames if is_durable(frame) and frame.get("replay")]


async def three_exchanges(client):
    for number in range(3):
        await client.end(await client.ask(f"say: {number}"))


@pytest.mark.transports
async def test_who_comes_back_gets_what_it_missed_and_nothing_else(server):
    async with server.connect() as client:
        await client.end(await client.ask("say: one"))
        await client.abort()
    async with server.connect(headers=client.credentials) as other:
        await other.ready()
        await other.end(await other.ask("say: two"))
    async with server.connect(**client.back()) as again:
        welcome = await again.ready()
        assert (welcome["resumed"], welcome["last_seq"], welcome["replay_from"]) == (True, 4, 2)
        assert "resume_token" not in welcome
        assert replayed(again) == [3, 4]
        assert again.transcript.frames.keys() == {1, 2, 3, 4}


@pytest.mark.parametrize(
    ("parameters", "seqs"),
    [
        ({"last_seq": 0}, [1, 2, 3, 4, 5, 6]),
        ({}, [1, 2, 3, 4, 5, 6]),
        ({"last_seq": -1}, [1, 2, 3, 4, 5, 6]),
        ({"last_seq": 7}, [1, 2, 3, 4, 5, 6]),
        ({"last_seq": 10**30}, [1, 2, 3, 4, 5, 6]),
        ({"last_seq": 4}, [5, 6]),
        ({"last_seq": 6}, []),
        ({"tail": 2}, [5, 6]),
        ({"tail": 0}, []),
        ({"tail": 100}, [1, 2, 3, 4, 5, 6]),
        ({"tail": -5}, [1, 2, 3, 4, 5, 6]),
        ({"tail": "few"}, [1, 2, 3, 4, 5, 6]),
        ({"last_seq": "few"}, [1, 2, 3, 4, 5, 6]),
    ],
)
async def test_the_replay_starts_where_the_client_says(server, parameters, seqs):
    async with server.connect() as client:
        await three_exchanges(client)
    async with server.connect(headers=client.credentials, **parameters) as again:
        await again.ready()
        assert replayed(again) == seqs


@pytest.mark.transports
async def test_the_running_answer_goes_on_from_a_snapshot(server):
    async with server.connect() as client:
        ref = await client.ask(STALLED)
        await has_text(client, STALLED_TEXT)
        await client.abort()
    async with server.connect(**client.back()) as again:
        welcome = await again.ready()
        (turn,) = welcome["turns"]
        assert (turn["ref"], turn["state"], turn["position"]) == (ref, "running", 0)
        thinking, snapshot, ready = again.frames[-3:]
        assert thinking["status"] == "thinking"
        assert (snapshot["snapshot"], snapshot["content"]) == (True, STALLED_TEXT)
        assert (snapshot["first"], snapshot["index"]) == (0, len(STALLED_TEXT) - 1)
        assert ready["status"] == "ready"
        await again.command("cancel")
        assert (await again.end(ref))["content"] == STALLED_TEXT


async def test_without_a_stream_there_is_no_snapshot(server):
    async with server.connect() as client:
        await client.ask(STALLED)
        await has_text(client, STALLED_TEXT)
        async with server.connect(headers=client.credentials, stream=False) as again:
            await again.ready()
            assert [f["type"] for f in again.frames] == [
                "notification",
                "query",
                "status",
                "status",
            ]
            await again.command("cancel")


@pytest.mark.transports
async def test_an_answer_is_finished_and_stored_though_nobody_listens(server):
    async with server.connect() as client:
        ref = await client.ask(SLOW)
        await client.expect("status", status="received")
        await client.abort()
    for _ in range(200):
        await asyncio.sleep(0.1)
        async with server.connect(headers=client.credentials, last_seq=1) as again:
            if (await again.ready())["last_seq"] == 2:
                break
    assert (await again.end(ref))["content"] == SLOW_TEXT


async def test_who_comes_and_goes_all_the_time_misses_nothing(server):
    held = Transcript()
    options = {"transcript": held}
    async with server.connect(**options) as client:
        refs = [await client.ask(f"{SLOW} n={number}") for number in range(4)]
        for ref in refs:
            await client.reply(ref)
        options["headers"] = client.credentials
    while len(held.ends) < len(refs):
        async with server.connect(last_seq=held.last_seq, **options) as client:
            await client.ready()
            await asyncio.sleep(0.15)
    ends = [frame for frame in held.frames.values() if is_terminal(frame)]
    assert [end["ref"] for end in ends] == refs
    assert [end["content"] for end in ends] == [SLOW_TEXT] * len(refs)


async def test_the_command_resume_replays_on_the_same_connection(server):
    async with server.connect() as client:
        await three_exchanges(client)
        await client.command("resume", last_seq=4)
        await client.expect("status", status="done")
        await client.expect("response", seq=6, replay=True)
        await client.expect("status", status="ready")
        assert replayed(client) == [5, 6]
        end = await client.end(await client.ask("say: live again"))
        assert "replay" not in end


async def test_each_of_several_resumes_has_its_reply_and_all_that_it_asked_for(server):
    async with server.connect() as client:
        await three_exchanges(client)
        refs = [await client.command_frame("resume", last_seq=seq) for seq in (5, 2, 4, 6)]
        for ref in refs:
            assert (await client.reply(ref))["status"] == "done"
        await client.quiet()
        assert set(replayed(client)) == {3, 4, 5, 6}
        assert client.frames[-2]["status"] == "ready"


async def test_queued_turns_are_in_the_welcome_with_their_positions(server):
    async with server.connect() as client:
        first = await client.ask(STALLED)
        await client.expect("delta")
        waiting = [await client.ask("say: x"), await client.ask("say: y", priority="high")]
        for ref in waiting:
            await client.reply(ref)
        async with server.connect(headers=client.credentials) as tab:
            turns = (await tab.ready())["turns"]
            assert [(t["ref"], t["state"], t["position"]) for t in turns] == [
                (first, "running", 0),
                (waiting[1], "queued", 1),
                (waiting[0], "queued", 2),
            ]
            await tab.command("cancel", all=True)


@pytest.mark.parametrize("session", ["00000000-0000-4000-8000-000000000000", "x", "../..", "%00"])
async def test_an_unknown_or_malformed_session_is_not_found(server, session):
    async with server.connect(query={"session": session}) as client:
        assert await client.closed() == (4404, client.socket.close_reason)
        (error,) = client.frames
        assert (error["type"], error["code"]) == ("error", "not_found")


async def test_a_foreign_session_gets_the_answer_of_an_unknown_one(server):
    async with server.connect() as client:
        await client.end(await client.ask("say: secret"))
    async with server.connect(query={"session": client.transcript.session}) as thief:
        assert (await thief.closed())[0] == 4404
    async with server.connect(query={"session": "nonsense"}) as lost:
        assert (await lost.closed())[0] == 4404
    assert {**thief.frames[0], "timestamp": ""} == {**lost.frames[0], "timestamp": ""}


async def test_an_idle_session_is_closed_with_the_originals_words_and_can_be_resumed(start_server):
    server: Server = start_server(SESSION_TIMEOUT="0.02")
    async with server.connect() as client, server.connect() as silent:
        await client.end(await client.ask("say: hello"))
        closed = await client.expect("notification", event="closed")
        assert closed["content"] == "Session closed due to inactivity"
        code, reason = await client.closed()
        assert code == 1000
        assert reason == "Session timeout"
        assert "seq" not in await silent.expect("notification", event="closed")
        assert (await silent.closed())[0] == 1000
    async with server.connect(**client.back()) as again:
        await again.ready()
        assert (await again.end(await again.ask("say: open again")))["content"] == "open again"


@pytest.mark.parametrize("command", ["uvicorn", "daphne"])
async def test_a_bare_server_works_too(start_server, command):
    server = start_server(command)
    async with server.connect() as client:
        assert (await client.end(await client.ask("say: bare")))["content"] == "bare"
    server.assert_nothing_broke()
