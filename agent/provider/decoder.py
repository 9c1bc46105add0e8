"""Decodes the documents of a chat completions server into chunks. Pure, no I/O.

It follows OpenAI's chat completions API and OpenRouter's
(https://openrouter.ai/docs/api/reference/streaming), leniently, because servers differ.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Literal, TypeAlias

from agent.errors import AnswerUnreadable, ProviderRejected, ProviderUnavailable

from .errors import error_in, error_of, identifier, parsed
from .event_stream import Document
from .finish_reasons import Ending, ending_of
from .message_parts import Parts, parts_of
from .thinking import ThinkingSplitter
from .usage_fields import usage_in

log = logging.getLogger(__name__)

#: A longer answer is cut and ends as `length`: a provider must not fill the process's memory.
MAX_ANSWER_CHARS = 1_000_000
MAX_MODEL_CHARS = 200
MAX_SOURCES = 64
MAX_URL_CHARS = 2000
MAX_TITLE_CHARS = 200

_WEB_ADDRESS = re.compile(r"https?://[^\s\x00-\x1f]+\Z", re.IGNORECASE)

FinishReason: TypeAlias = Literal["stop", "length", "content_filter"]


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of the answer; never empty."""

    text: str


@dataclass(frozen=True, slots=True)
class Reasoning:
    """A piece of the model's reasoning before it answers; empty when its text is hidden."""

    text: str


@dataclass(frozen=True, slots=True)
class Source:
    """A page that the answer is based on; each address comes once."""

    url: str
    title: str


@dataclass(frozen=True, slots=True)
class Usage:
    """The model, the tokens and the cost so far; each one replaces the one before it."""

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


class Decoder:
    """Turns the documents of one answer into chunks.

    Pass each document to `feed`; `end` returns the last chunks. A finish reason is dropped when
    text or reasoning follows it: some servers send a reason with each token.
    """

    def __init__(self) -> None:
        self.is_done = False  # the server sent [DONE]
        self.is_full = False  # the answer exceeded MAX_ANSWER_CHARS
        self.tokens = 0  # documents with text or reasoning so far
        self._ending: Ending | None = None
        self._was_wrong = False  # the answer went on after a finish reason
        self._is_late = False  # a finish reason or usage came after the last token
        self._has_text = self._has_delta = self._is_refusal = self._is_damaged = False
        self._usage = Usage(None, None, None, None)
        self._yielded_usage = self._usage
        self._half_pair = ""  # half of a surrogate pair that the end of a token cut in two
        self._thinking = ThinkingSplitter()
        self._room = self._reasoning_room = MAX_ANSWER_CHARS
        self._sources: set[str] = set()

    @property
    def is_complete(self) -> bool:
        """Whether the answer is whole: later documents can add usage, but cannot make it fail."""
        if self._ending is None or self._was_wrong:
            return False
        return self._has_text or self._ending is not Ending.STOP

    @property
    def is_settled(self) -> bool:
        """Whether only usage can follow; a reason in the last token's document is no proof."""
        return self.is_complete and self._is_late

    def feed(self, document: Document) -> Iterator[Chunk]:
        """Decode one document: an event of a stream, or a whole answer.

        Raises:
            AgentError: the document reports an error, or an answer that broke off.
        """
        data = document.data.strip()
        if data.upper() == "[DONE]":
            self.is_done = True
            return
        fields = parsed(data)
        if not isinstance(fields, dict | list):
            self._note_other(document, data)
            return
        choice = _choice_of(fields)
        error = None if self.is_complete else error_in(fields, is_marked=document.is_error)
        if document.is_whole and error is None and not choice:
            raise AnswerUnreadable
        tokens, usage = self.tokens, self._usage
        if isinstance(fields, dict):
            self._note_usage(fields, choice)
        yield from self._chunks(choice)
        if self.tokens and isinstance(fields, dict):  # the first chunk comes with a token
            yield from self._new_sources(_sources_beside(fields))
        if error is not None:
            raise error_of(error)
        ending = self._ending
        self._note_reason(choice)
        self._is_late = self.tokens == tokens and (
            self._is_late or self._ending is not ending or self._usage != usage
        )

    def end(self) -> Iterator[Chunk]:
        """Yield the last chunks of a complete answer.

        Raises:
            ProviderUnavailable: the answer is not complete.
            ProviderRejected: the model tried to use a tool.
        """
        ending = Ending.LENGTH if self.is_full else self._ending
        if ending is None and self.is_done and self.tokens:
            ending = Ending.STOP  # some servers send [DONE] without a finish reason
        if self._is_damaged:
            raise AnswerUnreadable
        if ending is None:
            raise ProviderUnavailable
        if ending is Ending.TOOLS and not self._has_text:
            raise _unwanted_tools()
        yield from self._texts("\ufffd" if self._half_pair else "", is_last=True)
        yield from self._new_usage()
        yield Finish(self._finish_reason(ending))

    def _finish_reason(self, ending: Ending) -> FinishReason:
        if self._is_refusal or ending is Ending.FILTERED:
            return "content_filter"
        return "length" if ending is Ending.LENGTH else "stop"

    # documents

    def _note_other(self, document: Document, data: str) -> None:
        """Handle a document without a JSON object: a keepalive, an error text, or a broken one."""
        if document.is_whole:
            raise AnswerUnreadable
        if document.is_error and not self.is_complete:
            raise error_of(data)
        self._is_damaged = self._is_damaged or (data.startswith("{") and '"content"' in data)

    def _chunks(self, choice: Mapping[str, Any]) -> Iterator[Chunk]:
        self._has_delta = self._has_delta or choice.get("delta") is not None
        parts = self._parts(choice)
        if parts.text or parts.is_reasoning:
            self._was_wrong = self._was_wrong or self._ending is not None
            self._ending = None
            self.tokens += 1
            yield from self._new_usage()
        elif self._usage.completion_tokens or self._usage.cost:
            yield from self._new_usage()
        if parts.is_reasoning:
            yield self._reasoning(clean(parts.reasoning))
        if parts.text:
            self._is_refusal = self._is_refusal or parts.is_refusal
            yield from self._joined(parts.text)
        yield from self._new_sources(parts.annotations)
        if parts.calls_tools:
            raise _unwanted_tools()

    def _parts(self, choice: Mapping[str, Any]) -> Parts:
        """Read a choice; one that cannot be read, or calls tools, is ignored after the end."""
        try:
            parts = parts_of(choice, only_delta=self._has_delta)
        except AnswerUnreadable:
            if not self.is_complete:
                raise
            return Parts()
        parts.calls_tools = parts.calls_tools and not self.is_complete
        return parts

    def _note_reason(self, choice: Mapping[str, Any]) -> None:
        names = ("finish_reason", "finishReason", "native_finish_reason")
        reason = next((choice[name] for name in names if choice.get(name)), None)
        ending = ending_of(reason)
        if ending is None or self.is_complete:
            return
        if ending is Ending.ABORTED:
            raise ProviderUnavailable
        if ending is Ending.UNKNOWN:
            log.warning("unknown finish_reason, treated as stop: %s", identifier(reason))
            ending = Ending.STOP
        self._ending = ending

    # texts

    def _joined(self, text: str) -> Iterator[Chunk]:
        text = self._half_pair + text
        self._half_pair = text[-1] if "\ud800" <= text[-1:] <= "\udbff" else ""
        yield from self._texts(clean(text[: len(text) - len(self._half_pair)]))

    def _texts(self, text: str, *, is_last: bool = False) -> Iterator[Chunk]:
        pieces = list(self._thinking.feed(text))
        if is_last:
            pieces += self._thinking.end()
        for is_reasoning, piece in pieces:
            if is_reasoning:
                yield self._reasoning(piece)
                continue
            self.is_full = self.is_full or len(piece) > self._room
            piece = piece[: self._room]
            self._room -= len(piece)
            self._has_text = self._has_text or not piece.isspace()
            if piece:
                yield Delta(piece)

    def _reasoning(self, text: str) -> Reasoning:
        text = text[: self._reasoning_room]
        self._reasoning_room -= len(text)
        return Reasoning(text)

    def _new_sources(self, annotations: Sequence[Any]) -> Iterator[Source]:
        for annotation in annotations:
            source = _source(annotation)
            if source and source.url not in self._sources and len(self._sources) < MAX_SOURCES:
                self._sources.add(source.url)
                yield source

    # usage

    def _note_usage(self, fields: Mapping[str, Any], choice: Mapping[str, Any]) -> None:
        found: dict[str, Any] = dict(usage_in(fields, choice))
        if self._usage.model is None:
            found["model"] = _model(fields.get("model"))
        self._usage = replace(self._usage, **found)

    def _new_usage(self) -> Iterator[Usage]:
        if self._usage != self._yielded_usage:
            self._yielded_usage = self._usage
            yield self._usage


def _unwanted_tools() -> ProviderRejected:
    return ProviderRejected("The model tried to use a tool, and this agent has none. Ask again.")


def _choice_of(fields: dict[str, Any] | list[Any]) -> dict[str, Any]:
    choices = fields.get("choices") if isinstance(fields, dict) else None
    choice = choices[0] if isinstance(choices, list) and choices else {}
    return choice if isinstance(choice, dict) else {}


def _sources_beside(fields: Mapping[str, Any]) -> list[Any]:
    """Return what stands beside the choices: pages with titles, and addresses (Perplexity, xAI)."""
    lists = (fields.get("search_results"), fields.get("citations"))
    return [each for found in lists if isinstance(found, list) for each in found]


def _source(annotation: Any) -> Source | None:
    """Return the page that an annotation cites (OpenRouter, OpenAI: `url_citation`)."""
    if isinstance(annotation, str):
        annotation = {"url": annotation}
    if not isinstance(annotation, dict):
        return None
    cited = annotation.get("url_citation")
    cited = cited if isinstance(cited, dict) else annotation
    url, title = cited.get("url"), cited.get("title")
    if not isinstance(url, str) or len(url) > MAX_URL_CHARS or not _WEB_ADDRESS.match(url):
        return None
    title = " ".join(clean(title).split()) if isinstance(title, str) else ""
    return Source(clean(url), title[:MAX_TITLE_CHARS])


def clean(text: str) -> str:
    """Replace NUL and lone surrogates, which databases or UTF-8 refuse, with U+FFFD."""
    if text.isascii():
        return text.replace("\0", "\ufffd")
    utf16 = text.encode("utf-16-le", "surrogatepass")  # joins the pairs
    return utf16.decode("utf-16-le", "replace").replace("\0", "\ufffd")


def _model(value: object) -> str | None:
    return clean(value)[:MAX_MODEL_CHARS] or None if isinstance(value, str) else None
