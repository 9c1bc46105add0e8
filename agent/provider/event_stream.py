"""Cuts a provider's response body into its documents. Pure, no I/O.

The first bytes of the body tell its format; the Content-Type does not, because servers and gateways
get it wrong. It is server-sent events
(https://html.spec.whatwg.org/multipage/server-sent-events.html), JSON documents one to a line, or a
single JSON document of a server that cannot stream.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum, auto

from agent.errors import AnswerUnreadable

#: The most bytes of one event or document; the data of one read may exceed it.
MAX_DOCUMENT_BYTES = 2**20

_BOM = b"\xef\xbb\xbf"
#: The fields of the standard, and `error`, in which llama.cpp reports errors.
_FIELDS = (b"data", b"event", b"id", b"retry", b"error")
_LONGEST_FIELD = max(map(len, _FIELDS))


@dataclass(frozen=True, slots=True)
class Document:
    """One document: the data of an event, or JSON that stands alone.

    Args:
        data: its text.
        is_error: the server marked it as an error, by the event's name or its field.
        is_whole: it is the whole body.
    """

    data: str
    is_error: bool = False
    is_whole: bool = False


class _Form(Enum):
    UNKNOWN = auto()
    EVENTS = auto()
    WHOLE = auto()  # one JSON document, which ends with the body


class EventStream:
    """Cuts bytes into documents as they arrive: call `feed` for each read, then `end`.

    Keepalives (comments, events without data or named `ping`) are no documents.
    """

    def __init__(self) -> None:
        self._form = _Form.UNKNOWN
        self._rest = b""  # an unfinished line, or all of a single document
        self._after_cr = False  # a leading \n belongs to the \r before it
        self._name = ""
        self._data: list[str] = []
        self._size = 0  # bytes of the document that is being read

    def feed(self, data: bytes) -> list[Document]:
        """Return the documents that end in these bytes.

        Raises:
            AnswerUnreadable: the bytes are neither events nor JSON, or a document is too large.
        """
        if self._after_cr and data:
            data = data.removeprefix(b"\n")
            self._after_cr = False
        self._size += len(data)
        self._rest += data
        if self._form is _Form.UNKNOWN:
            self._form = self._recognised()
        documents = self._lines() if self._form is _Form.EVENTS else []
        if self._size > MAX_DOCUMENT_BYTES:
            raise AnswerUnreadable
        return documents

    def end(self) -> list[Document]:
        """Return the documents that the end of the body completes.

        Raises:
            AnswerUnreadable: the body is neither events nor JSON.
        """
        if self._form is _Form.UNKNOWN:
            self._rest = self._rest.strip()
            if self._rest[:1] in (b"{", b"["):
                self._form = _Form.WHOLE
            elif self._rest and not _begins_with_field(self._rest + b"\n"):
                raise AnswerUnreadable
        if self._form is _Form.WHOLE:
            return [Document(self._rest.decode(errors="replace"), is_whole=True)]
        self._form, self._rest = _Form.EVENTS, self._rest + b"\n\n"
        return self._lines()

    def _recognised(self) -> _Form:
        start = self._rest.removeprefix(_BOM).lstrip()
        if not start or _BOM.startswith(self._rest):
            return _Form.UNKNOWN
        self._rest = start
        if start[:1] in (b"{", b"["):
            return self._form_of_json(start)
        if _begins_with_field(start):
            return _Form.EVENTS
        if len(start) > _LONGEST_FIELD or b"\n" in start or not start.isalpha():
            raise AnswerUnreadable
        return _Form.UNKNOWN

    def _form_of_json(self, start: bytes) -> _Form:
        """Whether a JSON document stands alone or is the first of several, one to a line."""
        first, newline, _ = start.partition(b"\n")
        if not newline:
            return _Form.UNKNOWN
        try:
            json.loads(first)
        except (ValueError, RecursionError):
            return _Form.WHOLE
        return _Form.EVENTS

    def _lines(self) -> list[Document]:
        lines = self._rest.splitlines(keepends=True)
        self._rest = b""
        if lines and not lines[-1].endswith((b"\n", b"\r")):
            self._rest = lines.pop()
        self._after_cr = bool(lines) and lines[-1].endswith(b"\r") and not self._rest
        documents: list[Document] = []
        for line in lines:
            documents += self._line(line.rstrip(b"\r\n"))
        return documents

    def _line(self, line: bytes) -> list[Document]:
        if not line:
            return self._dispatch()
        if line[:1] in (b"{", b"["):  # JSON without a field's name, beside events or alone
            self._size = len(self._rest)
            return [Document(line.decode(errors="replace"))]
        name, _, value = line.partition(b":")
        text = value.removeprefix(b" ").decode(errors="replace")
        match name.lower():
            case b"data":
                self._data.append(text)
            case b"event":
                self._name = text.strip().lower()
            case b"error":
                self._name, self._data = "error", [*self._data, text]
        return []

    def _dispatch(self) -> list[Document]:
        name, data = self._name, "\n".join(self._data)
        self._name, self._data = "", []
        if name == "ping" or not data.strip() or data.lstrip().startswith(":"):
            return []
        self._size = len(self._rest)
        return [Document(data, is_error=name == "error")]


def _begins_with_field(start: bytes) -> bool:
    """Whether a body begins like an event stream: with a comment or a known field."""
    if start.startswith(b":"):
        return True
    name = start[: _LONGEST_FIELD + 1].lower()
    return any(name.startswith((field + b":", field + b"\n", field + b"\r")) for field in _FIELDS)
