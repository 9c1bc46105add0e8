"""The offline demo model."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest
from markdown_it import MarkdownIt

from agent.provider.client import Delta, Finish, Reasoning, Usage
from agent.provider.demo import DemoProvider, answer
from agent.provider.request import ChatRequest

QUESTION = {"role": "user", "content": "What is a WebSocket?"}


def asked(question: str, before: int = 0) -> list[dict[str, str]]:
    history = [
        {"role": ("user", "assistant")[n % 2], "content": f"message {n}"} for n in range(before)
    ]
    system = {"role": "system", "content": "You are an agent."}
    return [system, *history, {"role": "user", "content": question}]


def request(messages: list[dict[str, str]]) -> ChatRequest:
    return ChatRequest(messages=messages, models=("offline-demo",))


async def heard(question: str) -> tuple[str, list[object]]:
    model = DemoProvider(delay_seconds=0)
    chunks: list[object] = [chunk async for chunk in model.stream(request(asked(question)))]
    await model.aclose()
    return "".join(chunk.text for chunk in chunks if isinstance(chunk, Delta)), chunks


@pytest.mark.parametrize("question", ["What is it?", "help", "long", "history", "markdown", "code"])
async def test_every_answer_says_that_no_model_is_attached(question: str) -> None:
    text, chunks = await heard(question)
    assert "offline demo model" in text
    assert "o language model is attached" in text
    assert text == answer(asked(question))
    assert chunks[-1] == Finish("stop")


@pytest.mark.parametrize("question", ["What is it?", "help"])
def test_it_says_how_to_attach_a_model(question: str) -> None:
    assert "OPENROUTER_API_KEY" in answer(asked(question))
    assert "OPENROUTER_BASE_URL" in answer(asked(question))


def test_it_refers_to_the_question_and_what_came_before() -> None:
    text = answer(asked("What is a WebSocket?", before=3))
    assert "> What is a WebSocket?" in text
    assert "4 words, 20 characters" in text
    assert "3 earlier messages" in text
    assert "0 earlier messages" in answer(asked("Again?"))


async def test_it_streams_word_by_word_and_costs_nothing() -> None:
    text, chunks = await heard("What is it?")
    deltas = [chunk for chunk in chunks if isinstance(chunk, Delta)]
    assert len(deltas) == len(text.split())
    usages = [chunk for chunk in chunks if isinstance(chunk, Usage)]
    assert usages[-1] == Usage(7, len(deltas), Decimal(0), "offline-demo", reasoning_tokens=0)
    assert isinstance(chunks[0], Usage)  # so that the model of a stopped answer is known
    assert chunks[0].model == "offline-demo"


async def test_think_shows_reasoning_that_says_it_is_a_demonstration_before_the_answer() -> None:
    text, chunks = await heard("Think about it, please")
    kinds = [type(chunk) for chunk in chunks if isinstance(chunk, Delta | Reasoning)]
    assert kinds == sorted(kinds, key=[Reasoning, Delta].index)
    thought = "".join(chunk.text for chunk in chunks if isinstance(chunk, Reasoning))
    assert "This is a demonstration" in thought
    assert "no language model is attached" in thought
    assert text == answer(asked("Think about it, please"))
    usage = [chunk for chunk in chunks if isinstance(chunk, Usage)][-1]
    assert usage.reasoning_tokens == kinds.count(Reasoning)
    assert usage.completion_tokens == len(kinds)
    assert "`think`" in answer(asked("help"))


async def test_who_does_not_ask_for_reasoning_gets_none() -> None:
    _, chunks = await heard("What did you rethink?")
    assert not [chunk for chunk in chunks if isinstance(chunk, Reasoning)]


def test_a_long_answer_has_several_hundred_words() -> None:
    assert 500 < len(answer(asked("a long answer, please")).split()) < 2000


def test_the_same_messages_get_the_same_answer() -> None:
    assert answer(asked("What?", before=4)) == answer(asked("What?", before=4))


def test_history_lists_what_it_was_given() -> None:
    text = answer(asked("history", before=2))
    assert "1. **user**: message 0\n2. **assistant**: message 1" in text


def test_an_ordinary_answer_is_markdown_with_a_list_and_code() -> None:
    kinds = {token.type for token in MarkdownIt().parse(answer(asked("What is it?", before=2)))}
    assert {"bullet_list_open", "fence", "blockquote_open"} <= kinds


@pytest.mark.parametrize("question", ["", "\0\ud800", "`" * 500, "```\n# x\n```", "\u65e5" * 40000])
def test_odd_questions_are_quoted_in_one_short_line(question: str) -> None:
    text = answer(asked(question))
    text.encode()
    assert "\0" not in text
    [quote] = [line for line in text.splitlines() if line.startswith(">")]
    assert len(quote) <= 202
    fences = [token for token in MarkdownIt().parse(text) if token.type == "fence"]
    assert len(fences) == 1


def test_no_messages_at_all_are_answered_too() -> None:
    assert "offline demo model" in answer([])


async def test_closing_the_stream_ends_it() -> None:
    stream = DemoProvider(delay_seconds=0).stream(request([QUESTION]))
    assert isinstance(await anext(stream), Usage)
    await stream.aclose()
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


async def test_cancelling_the_reader_ends_it() -> None:
    async def read() -> None:
        async for _ in DemoProvider(delay_seconds=60).stream(request([QUESTION])):
            pass

    reading = asyncio.create_task(read())
    await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
