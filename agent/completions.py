"""What is said to a chat completions server, and what it says, decoded. No I/O.

The rules are those of OpenAI's chat completions API and of OpenRouter
(https://openrouter.ai/docs/api/reference/streaming), read generously: servers differ.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Literal, TypeAlias

from .errors import AgentError, ProviderUnavailable
from .provider_errors import error_of

#: OpenRouter takes no more.
MAX_FALLBACK_MODELS = 3
#: An answer longer than this ends as `length`: the memory of a process is not the provider's.
MAX_ANSWER_CHARS = 1_000_000
MAX_MODEL_CHARS = 200

FinishReason: TypeAlias = Literal["stop", "length", "content_filter"]


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of the answer; never empty."""

    text: str


@dataclass(frozen=True, slots=True)
class Reasoning:
    """A piece of what the model thinks before it answers; empty when it may not be read."""

    text: str


@dataclass(frozen=True, slots=True)
class Source:
    """A page that the answer is based on; each address comes once."""

    url: str
    title: str


@dataclass(frozen=True, slots=True)
class Usage:
    """What is known of the model and its price; each one replaces the one before it."""

    prompt_tokens: int | None
    completion_tokens: int | None
    cost: Decimal | None  # in the provider's credits; US dollars at OpenRouter
    model: str | None
    reasoning_tokens: int | None = None  # a part of `completion_tokens`
    cached_tokens: int | None = None  # a part of `prompt_tokens`


@dataclass(frozen=True, slots=True)
class Finish:
    """The answer is complete; always the last chunk."""

    reason: FinishReason


Chunk: TypeAlias = Delta | Reasoning | Source | Usage | Finish

_FINISH_REASONS: Mapping[str, FinishReason] = {
    "length": "length",
    "max_tokens": "length",
    "content_filter": "content_filter",
}


class Decoder:
    """Turns the documents of one answer into chunks.

    Feed it each document with `feed`. When `finish_reason` is set the answer is complete, though
    usage may follow; when it is `full`, nothing more is wanted. `end` gives the last chunks.
    """

    def __init__(self) -> None:
        self.finish_reason: FinishReason | None = None
        self.full = False
        self._usage = Usage(None, None, None, None)
        self._told = self._usage
        self._held = ""  # half of a surrogate pair, cut in two by a token's end
        self._room = MAX_ANSWER_CHARS

    def feed(self, data: str | bytes) -> Iterator[Chunk]:
        """Decode one document: an event of a stream, or a whole answer.

        Raises:
            AgentError: it reports an error, or is not what a chat completions server says.
        """
        document = parse(data)
        choices = document.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else {}
        choice = choice if isinstance(choice, dict) else {}
        self._note_usage(document)
        reason = choice.get("finish_reason")
        text, alive = _text_of(choice)
        if text or alive:
            yield from self._tell()
            yield from self._deltas(text) if text else [Reasoning("")]
        elif self._usage.completion_tokens or self._usage.cost:
            yield from self._tell()
        if document.get("error") or reason == "error":
            raise error_of(document.get("error") or choice.get("error"))
        if isinstance(reason, str) and reason:
            self.finish_reason = self.finish_reason or _FINISH_REASONS.get(reason, "stop")

    def end(self) -> Iterator[Chunk]:
        """The last chunks of a complete answer.

        Raises:
            ProviderUnavailable: it is not complete.
        """
        if not self.finish_reason:
            raise ProviderUnavailable
        if self._held:
            yield Delta("\ufffd")
        yield from self._tell()
        yield Finish(self.finish_reason)

    def _deltas(self, text: str) -> Iterator[Delta]:
        text = self._held + text
        self._held = text[-1] if "\ud800" <= text[-1:] <= "\udbff" else ""
        text = clean(text[: len(text) - len(self._held)])
        if len(text) > self._room:
            self.full, self.finish_reason = True, "length"
        text = text[: self._room]
        self._room -= len(text)
        if text:
            yield Delta(text)

    def _note_usage(self, document: Mapping[str, Any]) -> None:
        usage = document.get("usage")
        usage = usage if isinstance(usage, dict) else {}
        known = self._usage
        prompt = _count(usage.get("prompt_tokens"))
        completion = _count(usage.get("completion_tokens"))
        cost = _cost(usage.get("cost"))
        self._usage = Usage(
            known.prompt_tokens if prompt is None else prompt,
            known.completion_tokens if completion is None else completion,
            known.cost if cost is None else cost,
            known.model or _model(document.get("model")),
        )

    def _tell(self) -> Iterator[Usage]:
        if self._usage != self._told:
            self._told = self._usage
            yield self._usage


def error_of_response(status: int, headers: Mapping[str, str], body: bytes) -> AgentError:
    """The error that an HTTP response with another status than 200 means.

    Args:
        status: of the response.
        headers: its headers, whose names are found in lower case.
        body: its body, or the start of it.
    """
    document = _parsed(body)
    error = document.get("error", document) if isinstance(document, dict) else None
    return error_of(error, status, headers)


def clean(text: str) -> str:
    """The text without what databases and UTF-8 refuse: NUL and lone surrogates."""
    if text.isascii():
        return text.replace("\0", "\ufffd")
    utf16 = text.encode("utf-16-le", "surrogatepass")  # joins the pairs
    return utf16.decode("utf-16-le", "replace").replace("\0", "\ufffd")


def parse(data: str | bytes) -> dict[str, Any]:
    """A JSON object of the provider.

    Raises:
        ProviderUnavailable: it is none.
    """
    document = _parsed(data)
    if not isinstance(document, dict):
        raise ProviderUnavailable
    return document


def _parsed(data: str | bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):  # not JSON, not UTF-8, or nested without end
        return None


_REASONING = ("reasoning", "reasoning_content", "reasoning_details")


def _text_of(choice: Mapping[str, Any]) -> tuple[str, bool]:
    """The text of a choice, and whether the model produced anything at all."""
    delta = choice.get("delta") or choice.get("message")
    if not isinstance(delta, dict):
        return "", False
    content = delta.get("content") or delta.get("refusal")
    if isinstance(content, list):  # parts, as some servers write them
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        content = "".join(part for part in parts if isinstance(part, str))
    text = content if isinstance(content, str) else ""
    thought = any(delta.get(key) for key in _REASONING)
    return text, thought


def _count(value: object) -> int | None:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return value if whole and 0 <= value < 2**31 else None  # type: ignore[operator,return-value]


def _cost(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        cost = Decimal(str(value))
        return cost.quantize(Decimal("1e-8")) if 0 <= cost < 1_000_000 else None
    except (InvalidOperation, ValueError):  # no number, NaN, or a huge one
        return None


def _model(value: object) -> str | None:
    return clean(value)[:MAX_MODEL_CHARS] or None if isinstance(value, str) else None


# Requests


def request_headers(api_key: str, title: str, referer: str) -> dict[str, str]:
    """The headers of every request.

    Raises:
        ValueError: the key cannot be one.
    """
    headers = {
        "Content-Type": "application/json",
        "Accept": "text/event-stream",
        "Accept-Encoding": "identity",  # unpacking has no bound
        "Cache-Control": "no-store",
        "X-Title": _printable(title),
        "HTTP-Referer": _printable(referer),
        "Authorization": f"Bearer {api_key.strip()}" if api_key.strip() else "",
    }
    if headers["Authorization"] != _printable(headers["Authorization"]):
        raise ValueError("The provider's API key has characters that no key has.")
    return {name: value for name, value in headers.items() if value}


def request_body(
    messages: Sequence[Mapping[str, str]],
    models: Sequence[str],
    temperature: float,
    max_tokens: int,
) -> bytes:
    """The body of a request for a streamed answer with usage.

    Args:
        messages: `role` and `content` of each.
        models: the model's name, then those that OpenRouter is to try in its place.
        temperature, max_tokens: of the answer.
    """
    model, *fallback_models = models
    body = {
        "model": model,
        "messages": list(messages),
        "temperature": temperature,
        "max_tokens": max_tokens,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if fallback_models:  # other servers may not know the name
        body["models"] = fallback_models[:MAX_FALLBACK_MODELS]
    return json.dumps(body).encode()


def _printable(text: str) -> str:
    return "".join(character for character in text if " " <= character <= "~")
