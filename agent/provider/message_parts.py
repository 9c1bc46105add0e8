"""Reads the text of a chat completion's message or delta, in any known JSON form. Pure.

In OpenAI's API it is a string; other servers send numbers, objects, lists of texts and of parts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agent.errors import AnswerUnreadable

#: Parts of a message that contain no text of the answer.
_NOT_TEXT = {
    "image_url",
    "image",
    "input_audio",
    "audio",
    "file",
    "reference",
    "tool_use",
    "tool_result",
    "redacted_thinking",
    "server_tool_use",
    "document",
}
_THOUGHT = {"thinking", "reasoning", "thought", "reasoning.text", "reasoning.summary"}
_REASONING = ("reasoning", "reasoning_content", "reasoning_text", "thinking", "reasoning_details")
_DEEPEST = 8


@dataclass(slots=True)
class Parts:
    """The contents of one message or delta."""

    text: str = ""
    reasoning: str = ""
    is_reasoning: bool = False  # the model reasons, even if the text of it is hidden
    is_refusal: bool = False
    calls_tools: bool = False
    annotations: tuple[Any, ...] = ()


def parts_of(choice: Mapping[str, Any], *, only_delta: bool = False) -> Parts:
    """Read a choice of a chat completion.

    Args:
        choice: one of `choices`.
        only_delta: the answer comes in deltas, so a `message` would repeat earlier text.

    Raises:
        AnswerUnreadable: its content is no text in any known form.
    """
    delta = choice.get("delta" if only_delta else "message")
    if delta is None and "text" in choice:
        delta = {"content": choice["text"]}
    if not isinstance(delta, dict):
        delta = {"content": delta}
    found = Parts()
    _read(delta.get("content"), found)
    if not found.text and (refusal := delta.get("refusal")):
        _read(refusal, found)
        found.is_refusal = bool(found.text)
    if not found.reasoning:  # several servers send the same reasoning in two fields
        _read_reasoning(delta, found)
    found.calls_tools = bool(delta.get("tool_calls") or delta.get("function_call"))
    annotations = delta.get("annotations")
    found.annotations = tuple(annotations) if isinstance(annotations, list) else ()
    return found


def _read(content: Any, found: Parts, depth: int = 0) -> None:
    match content:
        case None:
            pass
        case str():
            found.text += content
        case bool():
            found.text += "true" if content else "false"
        case int() | float():
            found.text += repr(content)
        case list() if depth < _DEEPEST:
            for part in content:
                _read(part, found, depth + 1)
        case dict() if depth < _DEEPEST:
            _read_part(content, found, depth + 1)
        case _:
            raise AnswerUnreadable


def _read_part(part: dict[str, Any], found: Parts, depth: int) -> None:
    kind = part.get("type")
    if kind in _THOUGHT:
        found.is_reasoning = True
        found.reasoning += _lenient(part)
        return
    for key in ("text", "content", "value", "refusal"):
        if part.get(key) is not None:
            _read(part[key], found, depth)
            found.is_refusal = found.is_refusal or key == "refusal"
            return
    if any(part.values()) and kind not in _NOT_TEXT and kind not in ("text", "output_text"):
        raise AnswerUnreadable


def _read_reasoning(delta: Mapping[str, Any], found: Parts) -> None:
    for key in _REASONING:
        if delta.get(key):
            found.is_reasoning = True
            found.reasoning = _lenient(delta[key])
            if found.reasoning:
                return


def _lenient(thought: Any, depth: int = 0) -> str:
    """Return the readable text of some reasoning; values of unknown forms are left out."""
    if isinstance(thought, str):
        return thought
    if depth > _DEEPEST:
        return ""
    if isinstance(thought, list):
        return "".join(_lenient(part, depth + 1) for part in thought)
    if isinstance(thought, dict):
        for key in ("text", "summary", "thinking", "content", "reasoning"):
            if thought.get(key):
                return _lenient(thought[key], depth + 1)
    return ""
