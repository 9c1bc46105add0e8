"""What is sent: messages that a valid WebSocket carries, and bytes that break the WebSocket. Pure.

No case is the command `close`, which ends a connection as it should. Everything comes out of one
`random.Random`, so that a seed repeats a run.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

from tests.support.raw import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, frame

_UUID = "7c0e6f5a-1111-4222-8333-123456789abc"

#: As clients send them; the mutations start here.
TEMPLATES: list[dict[str, Any]] = [
    {"content": "say: x", "timestamp": "2026-01-01T00:00:00.000Z"},
    {"type": "query", "content": "say: x", "id": "q", "priority": "low", "on_busy": "queue"},
    {"type": "query", "content": "say: x", "on_busy": "interrupt", "replaces": "7c0e6f5a"},
    {"type": "query", "content": "say: x", "on_busy": "reject", "priority": "high"},
    {"type": "command", "content": "help", "id": "c"},
    {"type": "command", "content": "cancel", "args": {"all": True}},
    {
        "type": "command",
        "content": "cancel",
        "args": {"turn": "7c0e6f5a-1111-4222-8333-123456789abc"},
    },
    {"type": "command", "content": "history", "args": {"before": 5, "limit": 10}, "id": "h"},
    {"type": "command", "content": "resume", "args": {"last_seq": 3}},
    {"type": "command", "content": "clear"},
    {"type": "command", "content": "retry", "args": {"turn": "7c0e6f5a"}},
    {"type": "command", "content": "rename", "args": {"title": "a title"}},
    {"type": "human_feedback", "target": "7c0e6f5a", "rating": "up", "content": "good", "id": "f"},
    {"type": "human_feedback", "rating": None},
    {"type": "ping", "id": "p"},
    {"type": "pong"},
]

#: Values that have broken programs before.
_VALUES: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    1,
    2**31,
    2**63,
    -(2**63),
    10**18,
    1e308,
    -0.0,
    0.1,
    "",
    " ",
    "\0",
    "a\0b",
    "x" * 64,
    "x" * 65,
    "x" * 5000,
    "x" * 32_001,
    "\u2028",
    "\U0010ffff",
    "__class__",
    "../../etc/passwd",
    "' OR 1=1 --",
    "<script>",
    "{{7*7}}",
    "%s%n",
    "NaN",
    [],
    {},
    [[]],
    [None],
    {"a": {"b": []}},
    {"__proto__": 1},
    [1, "a", {}],
    "websocket.disconnect",
    "websocket_receive",
    "session",
    "text",
    "query",
]
_NAMES = ["type", "content", "id", "args", "rating", "target", "priority", "on_busy", "replaces"]
_LITERALS = [
    "NaN",
    "-Infinity",
    "1e999",
    "9" * 5000,
    "-" + "9" * 5000,
    "0x10",
    "01",
    "+1",
    ".5",
    "tru",
    '"\\ud800"',
    '"\\udfff\\ud800"',
    '"\\u0000"',
    '"\\x"',
    "'x'",
    '"\t"',
    "[" * 100_000,
    '{"a":' * 5000,
    "[" * 33 + "]" * 33,
    "[" * 31 + "]" * 31,
    "\ufeff{}",
    "\u0000",
    "undefined",
]
_PIECES = ["{", "}", "[", "]", '"', ":", ",", "\\", "\0", "\\u", "null", "1e", "\n", "\U0001f44d"]


def message(dice: Random) -> tuple[int, bytes]:
    """Opcode and payload of a message that is well-formed as a WebSocket message."""
    made = dice.choice(_MESSAGES)(dice)
    if isinstance(made, str):
        return TEXT, made.encode("utf-8", "ignore")
    return BINARY, made


def _text(fields: object) -> str:
    return json.dumps(fields, ensure_ascii=False)


def _template(dice: Random) -> dict[str, Any]:
    fields = dict(dice.choice(TEMPLATES))
    if isinstance(fields.get("args"), dict):
        fields["args"] = dict(fields["args"])
    return fields


def _valid(dice: Random) -> str:
    return _text(_template(dice))


def _other_value(dice: Random) -> str:
    fields = _template(dice)
    where = (
        fields["args"] if isinstance(fields.get("args"), dict) and dice.random() < 0.5 else fields
    )
    where[dice.choice([*where, *_NAMES])] = dice.choice(_VALUES)
    return _text(fields)


def _less(dice: Random) -> str:
    fields = _template(dice)
    del fields[dice.choice(list(fields))]
    return _text(fields)


def _literal(dice: Random) -> str:
    """A value that JSON, or our reading of it, does not have."""
    fields = _template(dice)
    text = _text({**fields, dice.choice(_NAMES): "@@"})
    return text.replace('"@@"', dice.choice(_LITERALS)) if dice.random() < 0.8 else text[:-1]


def _key_twice(dice: Random) -> str:
    text = _valid(dice)
    return f'{{"{dice.choice(_NAMES)}": 1, {text[1:]}'


def _bitten(dice: Random) -> str:
    """Characters deleted, doubled, swapped and put in."""
    text = list(_valid(dice))
    for _ in range(dice.randint(1, 6)):
        place = dice.randrange(len(text) + 1)
        match dice.randrange(4):
            case 0:
                text[place : place + dice.randint(1, 5)] = []
            case 1:
                text[place:place] = text[place : place + dice.randint(1, 5)]
            case 2:
                text.insert(place, dice.choice(_PIECES))
            case _:
                text.insert(place, chr(dice.choice([dice.randrange(128), dice.randrange(0xD800)])))
    return "".join(text)


def _noise(dice: Random) -> str:
    return "".join(dice.choice(_PIECES) for _ in range(dice.randint(0, 60)))


def _alone(dice: Random) -> str:
    return dice.choice(_LITERALS) if dice.random() < 0.5 else _text(dice.choice(_VALUES))


def _layer_like(dice: Random) -> str:
    kinds = [
        "websocket.disconnect",
        "websocket.receive",
        "websocket.close",
        "session",
        "stop",
        "echo",
    ]
    return _text({"type": dice.choice(kinds), "code": 1000, "text": "{}", "turn": "7c0e6f5a"})


def _large(dice: Random) -> str:
    size = dice.choice([32_000, 32_001, 200_000, 262_144, 263_168, 500_000])
    return _text({"type": "query", "content": "", "padding": "x" * size})


def _bytes(dice: Random) -> bytes:
    return dice.randbytes(dice.choice([0, 1, 10, 1000]))


_MESSAGES: list[Callable[[Random], str | bytes]] = [
    _valid,
    _other_value,
    _other_value,
    _other_value,
    _less,
    _literal,
    _literal,
    _key_twice,
    _bitten,
    _bitten,
    _bitten,
    _noise,
    _alone,
    _layer_like,
    _bytes,
    _large,
]


@dataclass(frozen=True, slots=True)
class Broken:
    """Bytes after the handshake, and whether the server has to end the connection for them."""

    name: str
    data: bytes
    is_the_end: bool


def broken(dice: Random) -> Iterator[Broken]:
    """Each way to break the WebSocket once, with chance's values."""
    query = b'{"type": "ping", "id": "broken"}'
    yield Broken("unmasked", frame(TEXT, query, masked=False), True)
    for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
        yield Broken(f"opcode {opcode}", frame(opcode, dice.randbytes(5)), True)
    for bits in range(1, 8):
        yield Broken(f"reserved bits {bits}", frame(TEXT, query, reserved=bits), True)
    for name, data in _NOT_UTF8.items():
        yield Broken(f"not UTF-8: {name}", frame(TEXT, b'{"content": "' + data + b'"}'), True)
    yield Broken("UTF-8 cut by a fragment", frame(TEXT, b"\xf0\x9f", fin=False), False)
    yield Broken("not UTF-8 in the second fragment", _fragments(b"\xf0\x9f", b"\x41"), True)
    yield Broken("continuation of nothing", frame(CONTINUATION, query), True)
    yield Broken("text within a message", _fragments(b"{", b"}", second=TEXT), True)
    yield Broken("a fragmented ping", frame(PING, b"x", fin=False), True)
    yield Broken("a large ping", frame(PING, b"x" * 126), True)
    yield Broken("a ping within a message", frame(TEXT, b"{", fin=False) + frame(PING, b"x"), False)
    yield Broken("pongs that nobody asked for", frame(PONG, b"x") * 5, False)
    yield Broken("a ping flood", frame(PING, b"x" * dice.randint(0, 125)) * 2000, True)
    yield Broken("empty fragments", _empty_fragments(dice.randint(1500, 5000)), True)
    yield Broken("some fragments", _fragments(*(bytes([byte]) for byte in query)), False)
    yield Broken("1 TiB", frame(TEXT, b"x" * 100, length=2**40), True)
    yield Broken("the largest length", frame(TEXT, b"x", length=2**63 - 1), True)
    yield Broken("a length with the highest bit", frame(BINARY, b"x", length=2**64 - 1), True)
    yield Broken("1.1 MiB", frame(TEXT, b"x" * 1_153_434), True)
    yield Broken("a close of one byte", frame(CLOSE, b"\x03"), True)
    yield Broken("a close with a wrong code", frame(CLOSE, dice.choice(_WRONG_CODES)), True)
    yield Broken("a close that is not UTF-8", frame(CLOSE, b"\x03\xe8\xff"), True)
    yield Broken("HTTP again", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", True)
    for _ in range(5):
        yield Broken("noise", dice.randbytes(dice.randint(2, 200)), False)


_NOT_UTF8 = {
    "a lone byte": b"\xff",
    "a surrogate": b"\xed\xa0\x80",
    "overlong": b"\xc0\xaf",
    "too high": b"\xf4\x90\x80\x80",
    "cut": b"\xe2\x82",
}
_WRONG_CODES = [code.to_bytes(2, "big") for code in (0, 999, 1004, 1005, 1006, 1015, 2999, 65535)]


def _fragments(*pieces: bytes, second: int = CONTINUATION) -> bytes:
    first, *rest = pieces
    data = frame(TEXT, first, fin=False)
    for number, piece in enumerate(rest, 1):
        data += frame(second, piece, fin=number == len(rest))
    return data


def _empty_fragments(number: int) -> bytes:
    return frame(TEXT, b"{", fin=False) + frame(CONTINUATION, fin=False) * number
