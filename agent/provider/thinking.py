"""Separates an answer from the reasoning that a model writes into it. Pure, no I/O.

Servers that do not understand a model's chat template (Ollama, llama.cpp and others) send its
`<think>...</think>` block as answer text. It counts as reasoning when the answer begins with it.
"""

from __future__ import annotations

from collections.abc import Iterator

_NAMES = ("think", "thinking", "thought", "reasoning")
_OPENING = tuple(f"<{name}>" for name in _NAMES)


class ThinkingSplitter:
    """Splits an answer's text, piece by piece, into reasoning and answer.

    A tag may be cut anywhere between two pieces, so text that may be the start of a tag is buffered
    until the next piece; `end` yields the rest of the buffer.
    """

    def __init__(self) -> None:
        self._buffer = ""
        self._closing = ""  # the tag that ends the block, while the block is open
        self._is_over = False  # all further text is answer
        self._strip = False  # blank space between the block and the answer is neither

    def feed(self, text: str) -> Iterator[tuple[bool, str]]:
        """Yield pairs of whether a piece is reasoning, and the piece; no piece is empty."""
        if self._is_over and not self._strip:
            if text:
                yield False, text
            return
        self._buffer += text
        if not self._closing and not self._is_over:
            self._open()
        if self._closing:
            yield from self._inside()
        if self._is_over:
            yield from self._after()

    def end(self) -> Iterator[tuple[bool, str]]:
        """Yield the rest of the buffer when the answer has ended."""
        rest, self._buffer = self._buffer, ""
        if rest and not (self._is_over and self._strip):
            yield bool(self._closing) and not self._is_over, rest

    def _open(self) -> None:
        start = self._buffer.lstrip()
        lowered = start.lower()
        for tag in _OPENING:
            if lowered.startswith(tag):
                self._closing = f"</{tag[1:]}"
                self._buffer = start[len(tag) :].lstrip("\n")
                return
        if start and not any(tag.startswith(lowered) for tag in _OPENING):
            self._is_over = True

    def _inside(self) -> Iterator[tuple[bool, str]]:
        at = self._buffer.lower().find(self._closing)
        if at >= 0:
            inside = self._buffer[:at]
            self._buffer = self._buffer[at + len(self._closing) :]
            self._is_over = self._strip = True
            self._closing = ""
        else:
            keep = _half_tag(self._buffer.lower(), self._closing)
            inside = self._buffer[: len(self._buffer) - keep]
            self._buffer = self._buffer[len(self._buffer) - keep :]
        if inside:
            yield True, inside

    def _after(self) -> Iterator[tuple[bool, str]]:
        text = self._buffer.lstrip() if self._strip else self._buffer
        if text:
            self._buffer, self._strip = "", False
            yield False, text


def _half_tag(text: str, tag: str) -> int:
    """Return how many characters at the end of a text may be the beginning of a tag."""
    longest = min(len(text), len(tag) - 1)
    return next((n for n in range(longest, 0, -1) if tag.startswith(text[-n:])), 0)
