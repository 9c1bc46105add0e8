"""Turns over real sockets: their order, their one end, and all the ways to stop or repeat them."""

import asyncio
import uuid

import pytest

from .client import assert_same
from .scripted_provider import expected_text
from .waiting import eventually

pytestmark = pytest.mark.server
pytest_plugins = ["tests.servers"]

#: Writes a few words, then waits until it is stopped.
ENDLESS = "mode=stall after=3 tokens=4"
WORDS = "w0 w1 w2 "


async def start_endless(client):
    """Let a turn run that ends when it is stopped; returns its query's id, when it has text."""
    ref = await client.ask(ENDLESS)
    await client.expect("delta")
    return ref


def order(client):
    """The refs of turns in the order in which they ended."""
    ends = (frame for _, frame in sorted(client.transcript.frames.items()))
    return [frame["ref"] for frame in ends if frame["type"] in ("response", "error")]


def calls(provider, canary):
    return [each for each in provider.requests() if canary in each["prompt"]]


# waiting


async def test_a_second_query_waits_for_the_first(server):
    async with server.connect() as client:
        await client.ready()
        first = await start_endless(client)
        second = await client.ask("say: two")
        received = await client.reply(second)
        assert received["state"] == "queued"
        queued = await client.expect("status", status="queued", ref=second)
        assert queued["position"] == 1 and queued["turn"] == received["turn"]
        await client.command("cancel")
        assert (await client.end(second))["content"] == "two"
        assert order(client) == [first, second]
        assert not any(f.get("status") == "queued" and f["ref"] == first for f in client.frames)


async def test_a_waiting_query_hears_of_its_new_position(server):
    async with server.connect() as client:
        first = await start_endless(client)
        second = await client.ask(ENDLESS)
        third = await client.ask("say: three")
        await client.expect("status", status="queued", ref=third, position=2)
        await client.command("cancel", ref=first)
        await client.expect("status", status="queued", ref=third, position=1)
        await client.command("cancel", ref=second)
        await client.end(third)
        assert order(client) == [first, second, third]


async def test_many_queries_at_once_are_answered_in_their_order(server):
    async with server.connect() as client:
        refs = [await client.ask(f"mode=slow delay=0.01 say: answer {n}") for n in range(15)]
        for n, ref in enumerate(refs):
            assert (await client.end(ref))["content"] == f"answer {n}"
        assert order(client) == refs
        client.transcript.assert_complete()


async def test_higher_priorities_start_first_and_equal_ones_by_age(server):
    async with server.connect() as client:
        first = await start_endless(client)
        names = ["low", "normal", "high", "low", "normal", "high"]
        refs = [await client.ask("say: x", priority=name) for name in names]
        await client.reply(refs[-1])
        await client.command("cancel", ref=first)
        for ref in refs:
            await client.end(ref)
        assert order(client) == [first, *(refs[n] for n in (2, 5, 1, 4, 0, 3))]


async def test_a_low_query_is_not_overtaken_for_ever(server):
    async with server.connect() as client:
        first = await start_endless(client)
        low = await client.ask("say: low", priority="low")
        refs = [await client.ask("say: x", priority="high") for _ in range(12)]
        await client.reply(refs[-1])
        await client.command("cancel", ref=first)
        for ref in (low, *refs):
            await client.end(ref)
        assert order(client).index(low) <= 1 + 8


async def test_who_does_not_want_to_wait_is_told_that_the_agent_is_busy(server):
    async with server.connect() as client:
        running = await start_endless(client)
        ref = await client.ask("say: now", on_busy="reject")
        error = await client.reply(ref)
        assert (error["type"], error["code"], error["retryable"]) == ("error", "busy", True)
        await client.command("cancel", ref=running)
        await client.end(running)
        await client.ask("say: later", id=ref, on_busy="reject")
        assert (await client.end(ref))["content"] == "later", "a refused query leaves its id free"


async def test_an_interrupt_ends_the_running_turn_and_runs_before_all_waiting_ones(server):
    async with server.connect() as client:
        running = await start_endless(client)
        waiting = await client.ask("say: waited", priority="high")
        await client.reply(waiting)
        interrupt = await client.ask("say: at once", on_busy="interrupt")
        end = await client.end(running)
        assert (end["finish_reason"], end["content"]) == ("interrupted", WORDS)
        assert (await client.end(waiting))["content"] == "waited"
        assert order(client) == [running, interrupt, waiting]


async def test_the_latest_interrupt_comes_first(server):
    async with server.connect() as client:
        running = await start_endless(client)
        refs = [await client.ask(f"{ENDLESS} n={n}", on_busy="interrupt") for n in range(3)]
        await client.end(running)
        await client.expect("status", status="thinking", ref=refs[2])
        await client.command("cancel", all=True)
        for ref in refs:
            await client.end(ref)
        ended = order(client)
        assert ended[0] == running
        started = [f["ref"] for f in client.frames if f.get("status") == "thinking"]
        assert started[-1] == refs[2]


async def test_interrupting_nobody_is_an_ordinary_query(server):
    async with server.connect() as client:
        end = await client.end(await client.ask("say: hello", on_busy="interrupt"))
        assert (end["finish_reason"], end["content"]) == ("stop", "hello")


async def test_the_queue_has_an_end(server):
    async with server.connect() as client:
        running = await start_endless(client)
        waiting = [await client.ask("say: x") for _ in range(20)]
        ref = await client.ask("say: too much")
        error = await client.reply(ref)
        assert (error["code"], error["retryable"]) == ("queue_full", True)
        await client.command("cancel", ref=waiting[0])
        await client.end(waiting[0])
        await client.ask("say: fits", id=ref)
        assert (await client.reply(ref)) is not None
        await client.expect("query", ref=ref)
        await client.command("cancel", all=True)
        for each in (running, *waiting, ref):
            assert (await client.end(each))["finish_reason"] == "cancelled"


# stopping


@pytest.mark.transports
async def test_cancel_keeps_the_text_so_far_and_hangs_up_on_the_provider(server, provider):
    canary = uuid.uuid4().hex
    async with server.connect() as client:
        ref = await client.ask(f"mode=slow tokens=3000 delay=0.02 canary={canary}")
        await client.expect("delta")
        reply = await client.command("cancel")
        assert (reply["type"], reply["status"]) == ("status", "done")
        end = await client.end(ref)
        assert (end["type"], end["finish_reason"]) == ("response", "cancelled")
        assert end["content"] and expected_text("mode=slow tokens=3000").startswith(end["content"])
    (call,) = calls(provider, canary)
    assert call["disconnected"] or not call["ended"]
    await eventually(lambda: calls(provider, canary)[0]["disconnected"], "hanging up")


async def test_a_waiting_turn_is_cancelled_by_its_name_or_by_its_querys(server):
    async with server.connect() as client:
        running = await start_endless(client)
        one, two = await client.ask("say: 1"), await client.ask("say: 2")
        turn = (await client.reply(one))["turn"]
        assert (await client.command("cancel", turn=turn))["status"] == "done"
        assert (await client.command("cancel", ref=two))["status"] == "done"
        for ref in (one, two):
            end = await client.end(ref)
            assert (end["finish_reason"], end["content"]) == ("cancelled", "")
        assert not [f for f in client.frames if f.get("status") == "thinking" and f["ref"] == one]
        await client.command("cancel", ref=running)
        assert (await client.end(running))["content"] == WORDS


async def test_a_running_turn_is_cancelled_by_its_name_and_the_queue_goes_on(server):
    async with server.connect() as client:
        running = await start_endless(client)
        waiting = await client.ask("say: next")
        await client.command("cancel", turn=(await client.reply(running))["turn"])
        assert (await client.end(waiting))["content"] == "next"
        assert (await client.end(running))["finish_reason"] == "cancelled"


async def test_nothing_to_cancel_is_done_too(server):
    async with server.connect() as client:
        assert (await client.command("cancel"))["status"] == "done"
        assert (await client.command("cancel", all=True))["status"] == "done"
        ref = await client.ask("say: over")
        turn = (await client.end(ref))["turn"]
        for target in ({}, {"turn": turn}, {"ref": ref}, {"all": True}):
            assert (await client.command("cancel", **target))["status"] == "done"
        assert len(client.transcript.frames) == 2


async def test_cancelling_what_is_not_there_is_not_found(server):
    foreign = {"turn": "", "ref": ""}
    async with server.connect() as other:
        foreign["ref"] = await other.ask("say: mine")
        foreign["turn"] = (await other.end(foreign["ref"]))["turn"]
        async with server.connect() as client:
            targets = [
                {"turn": str(uuid.uuid4())},
                {"turn": "no id"},
                {"ref": "never used"},
                {"turn": foreign["turn"]},
                {"ref": foreign["ref"]},
            ]
            replies = [await client.command("cancel", **target) for target in targets]
            await client.end(await client.ask("say: hello"))
            replies += [await client.command("cancel", **target) for target in targets]
    for reply in replies:
        assert (reply["type"], reply["code"], reply["retryable"]) == ("error", "not_found", False)
    assert len({reply["content"] for reply in replies}) == 1


async def test_cancel_all_ends_the_waiting_ones_too(server):
    async with server.connect() as client:
        running = await start_endless(client)
        waiting = [await client.ask("say: no") for _ in range(3)]
        await client.reply(waiting[-1])
        await client.command("cancel", all=True)
        assert (await client.end(running))["content"] == WORDS
        for ref in waiting:
            assert (await client.end(ref))["content"] == ""
        await client.end(await client.ask("say: and on"))


async def test_cancel_without_a_target_leaves_the_waiting_ones_alone(server):
    async with server.connect() as client:
        running = await start_endless(client)
        waiting = await client.ask("say: mine now")
        await client.reply(waiting)
        await client.command("cancel")
        assert (await client.end(running))["finish_reason"] == "cancelled"
        assert (await client.end(waiting))["content"] == "mine now"


async def test_a_cancel_that_races_the_end_leaves_one_end(server):
    async with server.connect() as client:
        for n in range(30):
            ref = await client.ask(f"mode=slow delay=0.001 tokens={n}")
            if n % 3:
                await client.expect("status", status="thinking", ref=ref)
            await client.command("cancel", ref=ref)
            end = await client.end(ref)
            assert end["finish_reason"] in ("stop", "cancelled")
        client.transcript.assert_complete()


async def test_close_cancels_everything_and_ends_every_connection(server):
    async with server.connect() as client:
        running = await start_endless(client)
        async with server.connect(headers=client.credentials) as tab:
            await tab.ready()
            waiting = await client.ask("say: never")
            await client.reply(waiting)
            assert (await client.command("close"))["status"] == "done"
            for one in (client, tab):
                closed = await one.expect("notification", event="closed")
                assert closed["seq"] == 5
                assert (await one.closed())[0] == 1000
                assert one.frames[-1] == closed
            assert (await client.end(running))["content"] == WORDS
            assert (await client.end(waiting))["content"] == ""
            assert_same(client.transcript, tab.transcript)
    async with server.connect(**client.back()) as again:
        await again.ready()
        end = await again.end(await again.ask("say: open again"))
        assert end["content"] == "open again" and end["seq"] == 7


@pytest.mark.transports
async def test_close_without_anything_running_closes_at_once(server):
    async with server.connect() as client:
        await client.end(await client.ask("say: bye"))
        await client.command("close")
        assert (await client.closed())[0] == 1000
    async with server.connect() as client:
        await client.ready()
        await client.command_frame("close")
        assert "seq" not in await client.expect("notification", event="closed")
        assert (await client.closed())[0] == 1000
        session = client.transcript.session.replace("-", "")
        assert server.rows("SELECT * FROM agent_session WHERE id = ?", session) == []


# the same id again


async def test_the_same_query_again_is_acknowledged_and_runs_nothing(server, provider):
    canary = uuid.uuid4().hex
    content = f"{ENDLESS} canary={canary}"
    async with server.connect() as client:
        running = await client.ask(ENDLESS)
        await client.ask(content, id="again")
        states = []
        for state, change in (("queued", running), ("running", "again"), ("ended", None)):
            if state == "running":
                await client.expect("delta", turn=states[0]["turn"])
            await client.ask(content, id="again")
            received = await client.until(
                lambda f, state=state: f.get("status") == "received" and f["state"] == state
            )
            states.append(received)
            if change:
                await client.command("cancel", ref=change)
                await client.end(change)
        assert {(f["ref"], f["turn"], f["seq"]) for f in states} == {
            ("again", states[0]["turn"], 2)
        }
        assert [query["ref"] for query in client.transcript.queries] == [running, "again"]
    assert len(calls(provider, canary)) == 1


async def test_the_same_id_for_something_else_is_a_conflict(server):
    async with server.connect() as client:
        await client.end(await client.ask("say: one", id="used"))
        target = client.transcript.queries[0]["id"]
        for content, fields in (("say: two", {}), ("say: one", {"replaces": target})):
            await client.ask(content, id="used", **fields)
            error = await client.expect("error")
            assert (error["code"], error["ref"]) == ("conflict", "used")
            assert error["retryable"] is False
        await client.ask("say: one", id="used", priority="high", on_busy="reject")
        received = await client.expect("status", status="received", state="ended")
        assert received["seq"] == 1
        await client.quiet()
        assert len(client.transcript.frames) == 2


async def test_the_same_query_sent_many_times_at_once_runs_once(server, provider):
    content = f"mode=slow tokens=5 delay=0.02 canary={uuid.uuid4().hex}"
    async with server.connect() as client:
        await client.end(await client.ask("say: first"))
        async with (
            server.connect(headers=client.credentials) as two,
            server.connect(headers=client.credentials) as three,
        ):
            tabs = (client, two, three)
            for tab in tabs:
                tab.transcript.sent({"id": "once"})  # others send it too
            await asyncio.gather(*(tab.ask(content, id="once") for tab in tabs * 5))
            for tab in tabs:
                await tab.end("once")
                await tab.quiet()
                received = [
                    f
                    for f in tab.frames
                    if f.get("status") == "received" and f.get("ref") == "once"
                ]
                assert len(received) == 5
                assert {(f["turn"], f["seq"]) for f in received} == {(received[0]["turn"], 3)}
            assert len(client.transcript.queries) == 2
    assert len(calls(provider, content)) == 1


async def test_ids_belong_to_their_session(server):
    async with server.connect() as one, server.connect() as two:
        await one.ask("say: one", id="same")
        await two.ask("say: two", id="same")
        assert (await one.end("same"))["content"] == "one"
        assert (await two.end("same"))["content"] == "two"


# once more, and differently


async def test_a_retry_is_a_new_turn_for_the_same_query(server, provider):
    canary = uuid.uuid4().hex
    prompt = f"mode=flaky times=1 status=401 canary={canary} say: now"
    async with server.connect() as client:
        await client.end(await client.ask("say: before"))
        ref = await client.ask(prompt)
        failed = await client.end(ref)
        assert failed["code"] == "provider_rejected"
        reply = await client.command("retry", turn=failed["turn"])
        assert (reply["type"], reply["status"]) == ("status", "done")
        assert reply["turn"] != failed["turn"]
        end = await client.end(ref, nth=2)
        assert (end["content"], end["turn"]) == ("now", reply["turn"])
        assert len(client.transcript.queries) == 2
        await client.end(await client.ask(f"say: after {canary}"))
    first, second, last = calls(provider, canary)
    assert first["body"]["messages"] == second["body"]["messages"]
    assert [m["content"] for m in last["body"]["messages"][1:]] == [
        "say: before",
        "before",
        prompt,
        "now",
        f"say: after {canary}",
    ]


async def test_a_retry_of_an_unfinished_turn_is_busy_and_of_an_unknown_one_not_found(server):
    async with server.connect() as client:
        for turn in (str(uuid.uuid4()), "no id"):
            assert (await client.command("retry", turn=turn))["code"] == "not_found"
        ref = await start_endless(client)
        turn = (await client.reply(ref))["turn"]
        assert (await client.command("retry", turn=turn))["code"] == "busy"
        for unknown in (str(uuid.uuid4()), "no id"):
            assert (await client.command("retry", turn=unknown))["code"] == "not_found"
        await client.command("cancel")
        await client.end(ref)


async def test_the_same_retry_again_runs_nothing(server):
    async with server.connect() as client:
        ended = await client.end(await client.ask("say: x", id="query"))
        retry = {
            "type": "command",
            "content": "retry",
            "args": {"turn": ended["turn"]},
            "id": "retry",
        }
        await client.send(retry)
        done = await client.expect("status", status="done")
        await client.end("query", nth=2)
        await client.send(retry)
        assert (await client.expect("status", status="done"))["turn"] == done["turn"]
        await client.send({**retry, "id": "query"})
        assert (await client.expect("error"))["code"] == "conflict"
        await client.ask("say: x", id="retry")
        assert (await client.expect("error"))["code"] == "conflict"
        assert len(client.transcript.frames) == 3


async def test_an_edit_takes_the_place_of_its_target_and_what_followed(server, provider):
    canary = uuid.uuid4().hex
    async with server.connect() as client:
        await client.end(await client.ask("say: kept"))
        await client.end(await client.ask("say: wrong"))
        await client.end(await client.ask("say: follows"))
        target = client.transcript.queries[1]["id"]
        ref = await client.ask(f"say: {canary}", replaces=target)
        await client.end(ref)
        assert client.transcript.queries[3]["replaces"] == target
        missing = await client.ask("say: x", replaces=str(uuid.uuid4()))
        assert (await client.reply(missing))["code"] == "not_found"
    (call,) = calls(provider, canary)
    assert [message["content"] for message in call["body"]["messages"][1:]] == [
        "say: kept",
        "kept",
        f"say: {canary}",
    ]


async def test_clear_lets_the_model_forget_and_keeps_the_transcript(server, provider):
    canary = uuid.uuid4().hex
    async with server.connect() as client:
        await client.end(await client.ask("say: secret"))
        assert (await client.command("clear"))["status"] == "done"
        cleared = await client.expect("notification", event="cleared")
        assert cleared["seq"] == 3
        await client.end(await client.ask(f"say: {canary}"))
        assert len((await client.command("history"))["frames"]) == 5
    (call,) = calls(provider, canary)
    assert [message["role"] for message in call["body"]["messages"]] == ["system", "user"]


async def test_rename_tells_every_tab(server):
    async with server.connect() as client:
        await client.ready()
        async with server.connect(headers=client.credentials) as tab:
            await tab.ready()
            await client.command("rename", title="Über 👍")
            await tab.command("rename", title="x" * 200)
            for one in (client, tab):
                await one.expect("notification", event="renamed", title="Über 👍", seq=1)
                await one.expect("notification", event="renamed", title="x" * 200, seq=2)


async def test_feedback_is_for_the_latest_response_or_the_one_that_is_named(server):
    async with server.connect() as client:
        await client.send({"type": "human_feedback", "rating": "up", "id": "early"})
        assert (await client.reply("early"))["code"] == "not_found"
        first = await client.end(await client.ask("say: one"))
        second = await client.end(await client.ask("say: two"))
        async with server.connect(headers=client.credentials) as tab:
            await tab.ready()
            frames = (
                {"rating": "up", "id": "f1"},
                {"rating": "down", "target": first["id"], "content": "why?", "id": "f2"},
                {"rating": None, "target": first["id"]},
            )
            for frame in frames:
                await client.send({"type": "human_feedback", **frame})
            for one in (client, tab):
                await one.expect("feedback", target=second["id"], rating="up", ref="f1", seq=5)
                await one.expect("feedback", target=first["id"], rating="down", ref="f2", seq=6)
                last = await one.expect("feedback", target=first["id"], rating=None, seq=7)
                assert "ref" not in last
            query = client.transcript.queries[0]["id"]
            for number, target in enumerate((str(uuid.uuid4()), "no id", query)):
                bad = {"type": "human_feedback", "rating": "up", "target": target}
                await client.send({**bad, "id": f"bad{number}"})
                assert (await client.reply(f"bad{number}"))["code"] == "not_found"


async def test_what_changes_nothing_is_answered_and_told_to_nobody_else(server):
    async with server.connect() as client:
        answer = await client.end(await client.ask("say: one"))
        async with server.connect(headers=client.credentials) as tab:
            await tab.ready()
            for number in range(3):
                await client.send({"type": "human_feedback", "rating": "up", "id": f"f{number}"})
                told = await client.expect("feedback", ref=f"f{number}")
                assert (told["type"], told["target"]) == ("feedback", answer["id"])
                assert ("seq" in told) is (number == 0)
                assert (await client.command("rename", title="Reports"))["status"] == "done"
            await tab.expect("notification", event="renamed")
            await client.command("rename", title="Other")
            await tab.expect("notification", event="renamed", title="Other", seq=5)
