"""One turn from its prompt to its end, with a model that says what the test wants."""

import asyncio
from decimal import Decimal
from uuid import uuid4

import pytest
from django.db import transaction
from structlog.testing import capture_logs

from agent.actions import queries, sessions
from agent.actions.handles import SessionHandle
from agent.actor import Actor
from agent.errors import ProviderRejected
from agent.live.publish import Live
from agent.models import Message, Turn
from agent.protocol import client_frames
from agent.provider.decoder import Delta, Finish, Reasoning, Source, Usage
from agent.store.turn_queue import Lease
from agent.worker import runner
from tests.database.test_writer import in_thread

pytestmark = pytest.mark.django_db(transaction=True)

USAGE = Usage(10, 7, Decimal("0.5"), "m/one", reasoning_tokens=4, cached_tokens=8)
THOUGHTFUL = (
    USAGE,
    Reasoning("Let me"),
    Reasoning(" see."),
    Reasoning(""),
    Delta("It is "),
    Delta("42."),
    Source("https://example.org/", "Example"),
    Finish("stop"),
)


class Says:
    """A model that says these chunks; an exception among them is raised."""

    def __init__(self, *chunks):
        self.chunks, self.asked = chunks, []

    async def stream(self, request):
        self.asked.append(request.messages)
        for chunk in self.chunks:
            if isinstance(chunk, Exception):
                raise chunk
            if isinstance(chunk, asyncio.Event):
                await chunk.wait()
                continue
            yield chunk


@pytest.fixture
def handle():
    return SessionHandle(Live(), uuid4(), Actor(visitor="v"), stored=False)


@pytest.fixture
def reasoning(settings):
    """Chooses the setting REASONING."""

    def choose(value):
        settings.AGENT = {**settings.AGENT, "reasoning": value}

    return choose


def ask(handle, content="hi"):
    query = client_frames.Query(type="query", content=content)
    with transaction.atomic():
        done = queries._accept(handle, query, 20, Lease(handle.live.broker.process, 60))
    handle._stored = True
    return done


async def run(handle, *chunks, content="hi"):
    """Ask, and run the turn; returns its terminal frame and its row."""
    done = await in_thread(ask, handle, content)
    model = Says(*chunks)
    await runner.run_turn(handle.live, done.claimed, done.seq, model)
    frame = (await sessions.frames_after(handle.id, done.seq))[-1]
    return frame, await in_thread(lambda: Turn.objects.get(id=done.turn_id))


async def row_of(frame):
    return await in_thread(lambda: Message.objects.get(id=frame["id"]))


async def test_a_response_tells_the_reasoning_the_sources_and_their_counts(handle):
    frame, turn = await run(handle, *THOUGHTFUL)
    assert frame["content"] == "It is 42."
    ms = frame["reasoning"].pop("ms")
    assert isinstance(ms, int)
    assert frame["reasoning"] == {"tokens": 4, "content": "Let me see."}
    assert frame["sources"] == [{"url": "https://example.org/", "title": "Example"}]
    assert frame["usage"] == {
        "prompt_tokens": 10,
        "completion_tokens": 7,
        "cost": 0.5,
        "reasoning_tokens": 4,
        "cached_tokens": 8,
    }
    assert (turn.reasoning_ms, turn.reasoning_tokens, turn.cached_tokens) == (ms, 4, 8)


@pytest.mark.parametrize(
    ("value", "told", "kept"),
    [
        ("show", {"tokens": 4, "content": "Let me see."}, "Let me see."),
        ("hide", {"tokens": 4}, None),
        ("off", None, None),
    ],
)
async def test_what_is_told_of_reasoning_is_the_operators_choice(
    handle, reasoning, value, told, kept
):
    reasoning(value)
    texts = set()
    mine = handle.topic
    mine.text_appended = lambda: texts.add(mine.answer.reasoning)
    frame, turn = await run(handle, *THOUGHTFUL)
    shown = frame.get("reasoning")
    assert shown is None or isinstance(shown.pop("ms"), int)
    assert shown == told
    assert (await row_of(frame)).reasoning == kept
    assert frame["content"] == "It is 42."
    assert turn.reasoning_ms is not None
    assert texts == ({"Let me", "Let me see."} if value == "show" else {""})


@pytest.mark.parametrize(("now", "shown"), [("hide", {"ms", "tokens"}), ("off", set())])
async def test_what_was_kept_before_is_told_as_the_setting_is_now(handle, reasoning, now, shown):
    frame, _ = await run(handle, *THOUGHTFUL)
    reasoning(now)
    again = (await sessions.frames_after(handle.id, frame["seq"] - 1))[-1]
    assert set(again.get("reasoning", {})) == shown
    reasoning("show")
    assert (await sessions.frames_after(handle.id, frame["seq"] - 1))[-1] == frame


async def test_a_model_that_does_not_reason_has_no_reasoning(handle):
    usage = Usage(1, 1, None, "m", reasoning_tokens=0)
    frame, turn = await run(handle, usage, Delta("Hi"), Finish("stop"))
    assert "reasoning" not in frame
    assert "sources" not in frame
    assert turn.reasoning_ms is None


async def test_reasoning_that_is_only_counted_has_no_time(handle):
    frame, _ = await run(handle, Delta("Hi"), USAGE, Finish("stop"))
    assert frame["reasoning"] == {"ms": None, "tokens": 4}


async def test_reasoning_that_is_only_noticed_has_a_time_and_no_tokens(handle):
    frame, _ = await run(handle, Reasoning(""), Delta("Hi"), Finish("stop"))
    assert isinstance(frame["reasoning"]["ms"], int)
    assert frame["reasoning"]["tokens"] is None
    assert "content" not in frame["reasoning"]


async def test_reasoning_is_timed_up_to_the_first_text_and_the_first_token_is_its_own(
    handle, monkeypatch
):
    clock = iter(range(0, 10**6, 10)).__next__  # each look is ten seconds later
    chunks = [Reasoning("a"), Reasoning("b"), Delta("\n"), Delta("c"), Delta("d"), Finish("stop")]
    with monkeypatch.context() as patch:
        patch.setattr(runner, "_now", clock)
        frame, turn = await run(handle, *chunks)
    assert turn.first_token_ms == 10_000
    assert frame["reasoning"]["ms"] == 10_000


@pytest.mark.parametrize(
    ("chunks", "finish_reason", "words"),
    [
        ([Reasoning("Hm"), Finish("length")], "length", "used up its tokens while it was thinking"),
        ([Finish("length")], "length", "used up its tokens while it was thinking"),
        ([Reasoning("Hm"), Finish("stop")], "stop", "The answer is empty."),
        ([Delta(" \n"), Finish("stop")], "stop", "The answer is empty."),
        ([Finish("content_filter")], "content_filter", "withheld"),
    ],
)
async def test_an_answer_without_text_says_why_and_the_model_never_reads_that(
    handle, chunks, finish_reason, words
):
    frame, _ = await run(handle, *chunks, content="first")
    assert frame["finish_reason"] == finish_reason
    assert words in frame["content"]
    assert frame["empty"] is True
    assert words not in (await row_of(frame)).content
    done = await in_thread(ask, handle, "second")
    model = Says(Delta("ok"), Finish("stop"))
    await runner.run_turn(handle.live, done.claimed, done.seq, model)
    assert words not in str(model.asked)
    assert model.asked[0][-1]["content"].endswith("second")


async def test_neither_reasoning_nor_its_words_are_part_of_the_next_prompt(handle):
    await run(handle, *THOUGHTFUL)
    done = await in_thread(ask, handle, "next")
    model = Says(Delta("ok"), Finish("stop"))
    await runner.run_turn(handle.live, done.claimed, done.seq, model)
    assert [message["content"] for message in model.asked[0][1:]] == ["hi", "It is 42.", "next"]


async def test_a_stopped_turn_keeps_its_reasoning_and_has_no_words_of_ours(handle):
    done = await in_thread(ask, handle)
    thinking = asyncio.Event()
    mine = handle.topic
    mine.text_appended = thinking.set
    running = asyncio.create_task(
        runner.run_turn(handle.live, done.claimed, 1, Says(Reasoning("Hm"), asyncio.Event()))
    )
    await asyncio.wait_for(thinking.wait(), 20)
    handle.live.cancellations.cancel_local(done.turn_id, "cancelled")
    await running
    [frame] = await sessions.frames_after(handle.id, 1)
    assert (frame["finish_reason"], frame["content"]) == ("cancelled", "")
    assert frame["reasoning"]["content"] == "Hm"


async def test_a_failed_turn_tells_its_reasoning_and_the_operator_the_providers_status(handle):
    error = ProviderRejected()
    error.status = 402
    with capture_logs() as logs:
        frame, turn = await run(handle, Reasoning("Hm"), error)
    assert frame["type"] == "error"
    assert frame["reasoning"]["content"] == "Hm"
    assert turn.provider_status == 402
    [line] = [line for line in logs if line["event"] == "turn failed"]
    assert (line["code"], line["status"]) == ("provider_rejected", 402)
    assert "402" not in str(frame)


@pytest.mark.parametrize("status", [0, -1, 99, 600, 100_001, 2**40])
async def test_a_status_that_is_none_keeps_no_turn_from_ending(handle, status):
    error = ProviderRejected()
    error.status = status
    frame, turn = await run(handle, error)
    assert (frame["code"], turn.provider_status) == ("provider_rejected", None)


async def test_what_is_kept_of_reasoning_and_sources_is_bounded(handle, monkeypatch):
    monkeypatch.setattr(runner, "MAX_REASONING_CHARS", 10)
    monkeypatch.setattr(runner, "MAX_SOURCES", 2)
    sources = [Source(f"https://example.org/{n}", "") for n in range(5)]
    chunks = [*[Reasoning("abc")] * 9, Delta("ok"), *sources, Finish("stop")]
    frame, _ = await run(handle, *chunks)
    assert frame["reasoning"]["content"] == "abcabcabca"
    assert [each["url"][-1] for each in frame["sources"]] == ["0", "1"]
    assert frame["content"] == "ok"
