"""Reads files of variables (`.env`), strictly: a file with an invalid line is refused.

The syntax is common to docker compose, systemd and people: `NAME=value`, with blanks around the
sign, `export ` before the name, comments, quotes, CRLF and a byte order mark. `$` is an ordinary
character. Errors name the file and the line, never its content, which may be a secret.
"""

from __future__ import annotations

import re
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from dataclasses import dataclass
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

_BLANKS = " \t"
_ASSIGNMENT = re.compile(r"(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_.-]*)[ \t]*=")
_END_OF_LINE = re.compile(r"\r\n|\r|\n")
_COMMENT = re.compile(r"[ \t]#")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "'": "'", "\\": "\\", "$": "$"}


@dataclass(frozen=True, slots=True)
class Variable:
    """One assignment of a file: its name, its value and its line, from 1."""

    name: str
    value: str
    line: int


def read(path: Path) -> list[Variable]:
    """Read the variables of a file, in their order.

    Raises:
        ImproperlyConfigured: the file cannot be read, or a line is invalid.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ImproperlyConfigured(f"{path}: cannot be read: {error.strerror}") from None
    return parse(content, str(path))


def parse(content: bytes, path: str) -> list[Variable]:
    """Parse the content of a file; see `read`."""
    text = _END_OF_LINE.sub("\n", _decoded(content, path))
    found: dict[str, Variable] = {}
    position, line = 0, 1
    while position < len(text):
        end = _end_of_line(text, position)
        stripped = text[position:end].strip(_BLANKS)
        if not stripped or stripped.startswith("#"):
            position, line = end + 1, line + 1
            continue
        start = position + text[position:end].index(stripped[0])
        assignment = _ASSIGNMENT.match(text, start, end)
        if assignment is None:
            raise _unreadable(path, line, "expected NAME=value")
        try:
            value, after = _value(text, assignment.end())
        except _BadValue as error:
            raise _unreadable(path, line, str(error)) from None
        name = assignment[1]
        if name in found:
            raise _unreadable(path, line, f"{name} was set in line {found[name].line} already")
        found[name] = Variable(name, value, line)
        line += text.count("\n", position, after) + 1
        position = after + 1
    return list(found.values())


class _BadValue(Exception):
    pass


def _decoded(content: bytes, path: str) -> str:
    if content.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        raise _unreadable(path, 1, "expected UTF-8; this file is UTF-16, save it as UTF-8")
    content = content.removeprefix(BOM_UTF8)
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise _unreadable(path, _line_of(content, error.start), "expected UTF-8") from None
    if (nul := content.find(b"\0")) >= 0:
        raise _unreadable(path, _line_of(content, nul), "the line contains a NUL character")
    return text


def _line_of(content: bytes, position: int) -> int:
    before = content[:position].replace(b"\r\n", b"\n")
    return before.count(b"\n") + before.count(b"\r") + 1


def _value(text: str, position: int) -> tuple[str, int]:
    """Return the value that begins after the sign, and the end of its last line."""
    end = _end_of_line(text, position)
    rest = text[position:end]
    begin = position + len(rest) - len(rest.lstrip(_BLANKS))
    if begin < end and text[begin] in "\"'":
        return _quoted(text, begin)
    if comment := _COMMENT.search(rest):
        rest = rest[: comment.start()]
    return rest.strip(_BLANKS), end


def _quoted(text: str, begin: int) -> tuple[str, int]:
    quote, value, position = text[begin], [], begin + 1
    while position < len(text) and text[position] != quote:
        char, following = text[position], text[position + 1 : position + 2]
        escapes = _ESCAPES if quote == '"' else {"'": "'"}
        if char == "\\" and following in escapes:
            char = escapes[following]
            position += 1
        value.append(char)
        position += 1
    if position >= len(text):
        raise _BadValue("the quote that begins here is not closed")
    end = _end_of_line(text, position + 1)
    rest = text[position + 1 : end]
    if rest.strip(_BLANKS) and not rest.lstrip(_BLANKS).startswith("#"):
        raise _BadValue("there is text after the closing quote")
    return "".join(value), end


def _end_of_line(text: str, position: int) -> int:
    end = text.find("\n", position)
    return len(text) if end < 0 else end


def _unreadable(path: str, line: int, why: str) -> ImproperlyConfigured:
    return ImproperlyConfigured(f"{path}, line {line}: {why}")
