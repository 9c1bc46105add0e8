"""Parses JSON as the protocol takes it: one object that any database and client can hold. Pure."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from agent.errors import InvalidJson, InvalidMessage

_MAX_DEPTH = 32
_MAX_DIGITS = 19  # these fit into 64 bits


def parse_object(text: str) -> dict[str, Any]:
    """Parse the object in `text`.

    Raises:
        InvalidJson: the text is not JSON, not an object, or nested too deep, or it contains NaN,
            Infinity, a huge number, a key twice or a lone surrogate.
    """
    if _depth(text) > _MAX_DEPTH:
        raise InvalidJson(f"This JSON is nested deeper than {_MAX_DEPTH} levels.")
    try:
        value = _DECODER.decode(text)
        if "\\u" in text or not text.isascii():
            text.encode()
            json.dumps(value, ensure_ascii=False).encode()  # finds surrogates behind escapes
    except (ValueError, RecursionError):
        raise InvalidJson from None
    if not isinstance(value, dict):
        raise InvalidJson
    return value


def refuse_nul(text: str, value: dict[str, Any]) -> None:
    """Refuse NUL characters, which databases cannot store, in the object `value` from `text`.

    Raises:
        InvalidMessage: a text contains one.
    """
    if "\\u0000" in text and "\0" in "".join(_strings(value)):
        raise InvalidMessage("Text must not contain NUL characters.")


def _depth(text: str) -> int:
    """Return the depth of nesting, without recursion; 0 where it cannot exceed `_MAX_DEPTH`."""
    if text.count("[") + text.count("{") <= _MAX_DEPTH:
        return 0
    depth = deepest = 0
    in_string = escaped = False
    for char in text:
        if in_string:
            if escaped:
                escaped = False
            elif char == "\\":
                escaped = True
            elif char == '"':
                in_string = False
        elif char == '"':
            in_string = True
        elif char in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif char in "]}":
            depth -= 1
    return deepest


def _strings(value: Any) -> list[str]:
    found, todo = [], [value]
    while todo:
        item = todo.pop()
        if isinstance(item, str):
            found.append(item)
        elif isinstance(item, dict):
            todo += [*item.keys(), *item.values()]
        elif isinstance(item, list):
            todo += item
    return found


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key twice")
    return result


def _integer(digits: str) -> int:
    if len(digits.lstrip("-")) > _MAX_DIGITS:
        raise ValueError("a huge integer")
    return int(digits)


def _number(digits: str) -> float:
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        raise ValueError("a huge number")
    return value


def _constant(_: str) -> NoReturn:
    raise ValueError("NaN or Infinity")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique,
    parse_int=_integer,
    parse_float=_number,
    parse_constant=_constant,
)
