"""Programs push into live conversations, rename and delete them, whichever process holds them."""

import asyncio
import json
import time
import uuid
from datetime import datetime

import pytest

from tests.servers import Server
from tests.waiting import eventually

pytestmark = [pytest.mark.server, pytest.mark.redis]
pytest_plugins = ["tests.servers"]

NOTIFICATIONS = "/api/notifications/"


def token_of(server, *scopes):
    options = [word for scope in scopes for word in ("--scope", scope)]
    made = server.manage("agent_token", "create", "--name", uuid.uuid4().hex, *options)
    return made.split()[-1]


@pytest.fixture(scope="module")
def processes(redis_url, provider):
    """Two server processes with one database, and a token for both."""
    shared = {"REDIS_URL": redis_url}
    with Server(provider.base_url, environment=shared) as first:
        shared["DATABASE_URL"] = first.environment["DATABASE_URL"]
        with Server(provider.base_url, environment=shared) as second:
            second.token = token_of(first, "chat", "notify")
            yield first, second
            for each in (first, second):
                each.stop()
                each.assert_nothing_broke()


async def send(server, method, path, body=None, token=None):
    """A request with this token, or the server's; returns status and JSON."""
    headers = {"Authorization": f"Bearer {token or server.token}"}
    headers |= {"Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    status, _, text = await asyncio.to_thread(server.request, method, path, headers, data)
    return status, json.loads(text) if text else None


async def notify(server, session, content, **fields):
    body = {"session": session, "content": content, **fields}
    return await send(server, "POST", NOTIFICATIONS, body)


async def is_stored(server, session):
    """Whether a notification finds nobody; a server takes a moment to see that a client left."""
    told = (await notify(server, session, "Nobody is here."))[1]
    return (told["state"], told["connections"]) == ("stored", 0)


async def test_a_push_reaches_a_session_that_another_process_holds_without_a_row(processes):
    here, there = processes
    async with here.connect() as client:
        session = (await client.ready())["session"]
        sql = "SELECT count(*) FROM agent_session WHERE id = ?"
        assert here.rows(sql, uuid.UUID(session).hex) == [(0,)]
        status, told = await notify(there, session, "Your report is ready.", id="r1")
        assert (status, told) == (
            202,
            {"id": "r1", "state": "delivered", "connections": 1, "seq": 1},
        )
        frame = await client.expect("notification", event="message")
        assert (frame["seq"], frame["id"], frame["level"]) == (1, "r1", "info")
        assert frame["content"] == "Your report is ready."
        async with there.connect(session=session, headers=client.credentials) as tab:
            assert (await tab.ready())["session"] == session
            assert (await notify(there, session, "Again."))[1]["connections"] == 2
            for each in (client, tab):
                assert (await each.expect("notification", content="Again."))["seq"] == 2
        assert await notify(there, session, "Your report is ready.", id="r1") == (200, told)
        assert (await notify(there, session, "Another text.", id="r1"))[0] == 409
        ref = await client.ask("say: still here")
        assert (await client.end(ref))["content"] == "still here"
    await eventually(lambda: is_stored(there, session), "the end of the connections")


async def test_a_resume_token_continues_a_session_that_another_process_holds_without_a_row(
    processes,
):
    here, there = processes
    async with here.connect() as client:
        session = (await client.ready())["session"]
        async with there.connect(headers=client.credentials) as tab:
            assert (await tab.ready())["session"] == session
            ref = await tab.ask("say: from there")
            assert (await client.end(ref))["content"] == "from there"
        headers = {"Authorization": "Bearer " + client.transcript.resume_token}
        async with there.connect(session=str(uuid.uuid4()), headers=headers) as stranger:
            assert (await stranger.closed())[0] == 4404


async def test_what_expired_before_a_client_saw_it_is_replayed_without_its_text(processes):
    here, there = processes
    async with here.connect() as client:
        session = (await client.ready())["session"]
        await notify(there, session, "Lunch is here.", ttl=0.3, level="warning")
        seen = await client.expect("notification", event="message", content="Lunch is here.")
        await asyncio.sleep(datetime.fromisoformat(seen["expires_at"]).timestamp() - time.time())
        for server in processes:  # from the memory of one, and from the database
            async with server.connect(session=session, headers=client.credentials) as late:
                await late.ready()
                frame = next(frame for frame in late.frames if frame.get("seq") == seen["seq"])
                assert (frame["event"], frame["content"]) == ("expired", "")
                assert frame["level"] == "warning"
                page = await late.command("history")
                assert page["frames"][0]["content"] == ""


async def test_a_rename_and_a_deletion_over_http_reach_sockets_of_another_process(
    processes, provider
):
    here, there = processes
    headers = {"Authorization": f"Bearer {there.token}"}
    async with here.connect(headers=headers) as client:
        session = (await client.ready())["session"]
        path = f"/api/sessions/{session}/"
        assert (await send(there, "PATCH", path, {"title": "Ours"}))[0] == 200
        renamed = await client.expect("notification", event="renamed")
        assert (renamed["title"], renamed["seq"]) == ("Ours", 1)
        prompt = f"mode=slow tokens=2000 delay=0.05 {session}"
        await client.ask(prompt)
        await client.expect("delta")
        assert (await send(there, "DELETE", path))[0] == 204
        assert (await client.closed())[0] == 4404
        assert (await send(there, "GET", path))[0] == 404
        await eventually(lambda: hung_up(provider, session), "hanging up on the provider")


async def hung_up(provider, words):
    asked = await asyncio.to_thread(provider.requests)
    return [each["disconnected"] for each in asked if words in each["prompt"]] == [True]


async def test_a_command_pushes_too(processes):
    here, there = processes
    async with here.connect() as client:
        session = (await client.ready())["session"]
        printed = await asyncio.to_thread(
            there.manage, "notify", session, "From cron.", "--level", "success", "--id", "c1"
        )
        assert printed == "delivered: id c1, seq 1, 1 connections\n"
        frame = await client.expect("notification", event="message")
        assert (frame["content"], frame["level"], frame["id"]) == ("From cron.", "success", "c1")
        printed = await asyncio.to_thread(
            there.manage, "notify", session, "From cron.", "--id", "c1"
        )
        assert printed.startswith("delivered, as before: id c1, seq 1")


async def test_guessed_tokens_get_nothing_and_change_nothing(processes):
    here, there = processes
    async with here.connect() as client:
        session = (await client.ready())["session"]
        prefix = there.token.rpartition("_")[0]
        guesses = [f"{prefix}_{number:043d}" for number in range(100)]
        guesses += [f"awt_{number:012x}_{'A' * 43}" for number in range(100)]
        answers = set()
        for guess in guesses:
            body = {"session": session, "content": "x"}
            status, told = await send(there, "POST", NOTIFICATIONS, body, token=guess)
            answers.add((status, told["error"]["code"]))
        assert answers <= {(401, "unauthenticated"), (429, "rate_limited")}
        await client.quiet()
        assert client.transcript.last_seq == 0


async def test_who_asks_too_often_or_guesses_is_told_to_wait(start_server):
    server = start_server(MAX_FRAMES_PER_SECOND="3", MAX_CONNECTS_PER_MINUTE="3")
    server.token = token_of(server, "notify")
    unknown = {"session": str(uuid.uuid4()), "content": "x"}
    answers = [await send(server, "POST", NOTIFICATIONS, unknown) for _ in range(40)]
    assert {status for status, _ in answers} == {404, 429}
    limited = [told["error"]["code"] for status, told in answers if status == 429]
    assert set(limited) == {"rate_limited"}
    guesses = [await send(server, "POST", NOTIFICATIONS, unknown, token="no") for _ in range(8)]
    assert [status for status, _ in guesses] == [401] * 3 + [429] * 5


async def test_without_redis_a_push_of_another_process_arrives_nevertheless(start_server):
    server = start_server()
    async with server.connect() as client:
        session = (await client.ready())["session"]
        await client.end(await client.ask("say: stored"))
        printed = await asyncio.to_thread(server.manage, "notify", session, "Slowly.")
        assert printed.startswith("stored: ")
        frame = await client.expect("notification", event="message")
        assert (frame["content"], frame["seq"]) == ("Slowly.", 3)
