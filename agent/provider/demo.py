"""The offline demo model, which is no language model, and says so.

It has the interface of `client.Provider`, so that the product can be tried without a key: answers
stream word by word, and can be stopped, resumed and edited. They depend only on the messages.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from decimal import Decimal

from .decoder import Chunk, Delta, Finish, Reasoning, Usage, clean
from .request import ChatRequest

MODEL = "offline-demo"
QUOTE_CHARS = 200
LONG_ANSWER_STEPS = 50

_TOKENS = re.compile(r"\s*\S+|\s+$")

_HOW_TO_ATTACH = """\
```sh
export OPENROUTER_API_KEY=sk-or-...                  # a key of openrouter.ai, or
export OPENROUTER_BASE_URL=http://localhost:11434/v1 # any OpenAI-compatible server
```"""


class DemoProvider:
    """Answers in place of a provider.

    Args:
        delay_seconds: the time between two words.
    """

    def __init__(self, *, delay_seconds: float = 0.03) -> None:
        self._delay_seconds = delay_seconds

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Chunk, None]:
        """Answer the last message.

        Args:
            request: only its messages are used.

        Yields:
            `Delta`s of one word each, `Reasoning`s before them if the message asks for reasoning,
            a `Usage` before and after them (tokens are words, the cost is 0); at last one `Finish`.
        """
        messages = request.messages
        words = sum(len(message["content"].split()) for message in messages)
        yield Usage(words, 0, Decimal(0), MODEL)
        thoughts = _TOKENS.findall(reasoning(messages))
        for token in thoughts:
            await asyncio.sleep(self._delay_seconds)
            yield Reasoning(token)
        tokens = _TOKENS.findall(answer(messages))
        for token in tokens:
            await asyncio.sleep(self._delay_seconds)
            yield Delta(token)
        written = len(thoughts) + len(tokens)
        yield Usage(words, written, Decimal(0), MODEL, reasoning_tokens=len(thoughts))
        yield Finish("stop")

    async def aclose(self) -> None:
        """Do nothing: there are no connections."""


def answer(messages: Sequence[Mapping[str, str]]) -> str:
    """Return the whole answer to the last message, in Markdown."""
    question, before = _question(messages)
    command = re.search(r"\b(long|history|markdown|code|help)\b", question.lower())
    write = _ANSWERS[command[1]] if command else _about
    return write(question, before)


def reasoning(messages: Sequence[Mapping[str, str]]) -> str:
    """Return the reasoning for a message with the word `think`; empty for other messages."""
    question, before = _question(messages)
    if not re.search(r"\bthink\b", question.lower()):
        return ""
    return f"""\
This is a demonstration: no language model is attached, so nobody is thinking here. A model that \
reasons would weigh the question first, and you would see it in this place.

{_facts(question)} With it I was given {_number(len(before), "earlier message")}. That is all that \
I can find out, so I begin to answer."""


def _question(
    messages: Sequence[Mapping[str, str]],
) -> tuple[str, Sequence[Mapping[str, str]]]:
    """Return the last message's text and the messages before it, without the system prompt."""
    talk = [message for message in messages if message["role"] != "system"]
    return clean(talk[-1]["content"]) if talk else "", talk[:-1]


def _about(question: str, before: Sequence[Mapping[str, str]]) -> str:
    return f"""\
I am the **offline demo model**. No language model is attached, so I cannot answer this; I can \
only count it:

> {_quoted(question)}

- {_facts(question)}
- I was given {_number(len(before), "earlier message")} of this conversation.
- My words come one at a time, as those of a model would: stop me, reload the page, or ask \
something else while I write.

To attach a model, set one of these and start the server again:

{_HOW_TO_ATTACH}

Say `help` for what else I can do."""


def _help(question: str, before: Sequence[Mapping[str, str]]) -> str:
    return f"""\
I am the **offline demo model**; no language model is attached. A question with one of these words \
gets a special answer:

- `long`: several hundred words, to try Stop, or a reload in mid-answer
- `history`: what I was given of this conversation
- `markdown`: headings, a table and lists
- `code`: a piece of code
- `think`: some reasoning before the answer
- `help`: this list

To attach a model, set one of these and start the server again:

{_HOW_TO_ATTACH}"""


def _long(question: str, before: Sequence[Mapping[str, str]]) -> str:
    steps = "\n".join(
        f"{n}. Step {n} of {LONG_ANSWER_STEPS}: {n} squared is {n * n}, and {n} cubed is {n**3}."
        for n in range(1, LONG_ANSWER_STEPS + 1)
    )
    return f"""\
I am the **offline demo model**, so this is long and says little: no language model is attached. \
It gives you time to press Stop, to reload the page, or to open it in a second tab.

{steps}

That was all of it: if you read this, nobody stopped me."""


def _history(question: str, before: Sequence[Mapping[str, str]]) -> str:
    lines = "\n".join(
        f"{n}. **{message['role']}**: {_quoted(clean(message['content']), 60)}"
        for n, message in enumerate(before, 1)
    )
    return f"""\
I am the **offline demo model**; no language model is attached. With your question I was given \
{_number(len(before), "earlier message")}{":" if before else "."}

{lines or "Ask me something else, and then for the history again."}

The command *clear* makes me forget them; the transcript stays."""


def _markdown(question: str, before: Sequence[Mapping[str, str]]) -> str:
    counted = Counter(re.findall(r"\w+", question.lower())).most_common(5)
    rows = "\n".join(f"| {word} | {count} |" for word, count in counted)
    return f"""\
## From the offline demo model

No language model is attached. The words of your question, **counted**:

| word | times |
|---|---|
{rows}

### Also

1. *emphasis*, `code`, ~~struck out~~
2. a [link](https://commonmark.org/help/)
   - and a list within a list"""


def _code(question: str, before: Sequence[Mapping[str, str]]) -> str:
    return f"""\
I am the **offline demo model**; no language model is attached, so I cannot write code for you. \
This is how a program asks what you asked:

```python
import asyncio, json
from websockets.asyncio.client import connect

async def main():
    async with connect("ws://localhost:8000/ws/agent/") as socket:
        await socket.send(json.dumps({{"type": "query", "content": {_quoted(question)!r}}}))
        async for frame in socket:
            print(frame)

asyncio.run(main())
```"""


_ANSWERS: dict[str, Callable[[str, Sequence[Mapping[str, str]]], str]] = {
    "long": _long,
    "history": _history,
    "markdown": _markdown,
    "code": _code,
    "help": _help,
}


def _facts(question: str) -> str:
    words, lines = len(question.split()), len(question.splitlines())
    size = f"{_number(words, 'word')}, {_number(len(question), 'character')}"
    return f"It has {size}" + (f" and {_number(lines, 'line')}." if lines > 1 else ".")


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")


def _quoted(text: str, most: int = QUOTE_CHARS) -> str:
    """Return the start of a text in one line."""
    line = " ".join(text.split()).replace("`", "'")
    return line if len(line) <= most else f"{line[: most - 1]}…"
