"""Tells the reasoning that a model writes into its answer from the answer. Pure, no I/O.

Servers whose chat template is not understood (Ollama, llama.cpp and others) pass a model's
`<think>...</think>` block on as answer text. It counts as reasoning when the answer begins with it.
"""

from __future__ import annotations

from collections.abc import Iterator

_NAMES = ("think", "thinking", "thought", "reasoning")
_OPENING = tuple(f"<{name}>" for name in _NAMES)


class ThinkingSplitter:
    """Splits an answer's text, piece by piece, into reasoning and answer.

    A tag may be cut anywhere between two pieces, so text that may be the start of a tag is held
    back until the next piece; `end` gives what is held.
    """

    def __init__(self) -> None:
        self._held = ""
        self._closing = ""  # the tag that ends the block, while it is open
        self._is_over = False  # from here on everything is answer
        self._strip = False  # blank space between the block and the answer is neither

    def feed(self, text: str) -> Iterator[tuple[bool, str]]:
        """Pairs of whether a piece is reasoning, and the piece; no piece is empty."""
        if self._is_over and not self._strip:
            if text:
                yield False, text
            return
        self._held += text
        if not self._closing and not self._is_over:
            self._open()
        if self._closing:
            yield from self._inside()
        if self._is_over:
            yield from self._after()

    def end(self) -> Iterator[tuple[bool, str]]:
        """What is still held when the answer has ended."""
        held, self._held = self._held, ""
        if held and not (self._is_over and self._strip):
            yield bool(self._closing) and not self._is_over, held

    def _open(self) -> None:
        start = self._held.lstrip()
        lowered = start.lower()
        for tag in _OPENING:
            if lowered.startswith(tag):
                self._closing = f"</{tag[1:]}"
                self._held = start[len(tag) :].lstrip("\n")
                return
        if start and not any(tag.startswith(lowered) for tag in _OPENING):
            self._is_over = True

    def _inside(self) -> Iterator[tuple[bool, str]]:
        at = self._held.lower().find(self._closing)
        if at >= 0:
            inside = self._held[:at]
            self._held = self._held[at + len(self._closing) :]
            self._is_over = self._strip = True
            self._closing = ""
        else:
            keep = _half_tag(self._held.lower(), self._closing)
            inside = self._held[: len(self._held) - keep]
            self._held = self._held[len(self._held) - keep :]
        if inside:
            yield True, inside

    def _after(self) -> Iterator[tuple[bool, str]]:
        text = self._held.lstrip() if self._strip else self._held
        if text:
            self._held, self._strip = "", False
            yield False, text


def _half_tag(text: str, tag: str) -> int:
    """How many characters at the end of a text may be the beginning of a tag."""
    longest = min(len(text), len(tag) - 1)
    return next((n for n in range(longest, 0, -1) if tag.startswith(text[-n:])), 0)
