"""Untrusted Markdown within a document of ours: estimates its cost, and contains its effects.

Pure: text in, text out. `html` renders it; `actions.export_markdown` writes files with it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token

#: Longer texts are shown as they were written.
MAX_CHARS = 50_000
#: So are texts with more marks. The parser takes 20 to 50 µs for each on a common machine.
MAX_MARKS = 5_000
#: So are texts whose tables might have more cells: the parser fills up short rows.
MAX_CELLS = 10_000

_MARKS = "[]!*_`<>&\\~|"
#: A line costs the parser as much as this many marks.
_MARKS_OF_LINE = 3
#: Parsers may stop at deeper nesting.
_MAX_LEVEL = 16
#: The levels of our own headings; a text's headings are below them.
_LEVELS_OF_OURS = 2

#: A text without any of these is paragraphs and lists, which end where the text ends.
_SUSPECT = re.compile(r"<|`{3}|~{3}|#|>|\]:|^[ \t>]*(?:=+|-+)[ \t]*$", re.MULTILINE)
_OPEN_TAG = re.compile(r"(?<!\\)<")
_QUOTE = re.compile(r"^( {0,3})>")
_PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")

#: Whether the start of a quotation looks like one of our own quotations.
Reserved = Callable[[str], bool]


# cost


def marks(text: str) -> int:
    """Estimate how much work a text is for a parser, in marks."""
    return sum(map(text.count, _MARKS)) + _MARKS_OF_LINE * (text.count("\n") + 1)


def is_costly(text: str) -> bool:
    """Whether a text takes too long to parse, so that it is shown as it was written."""
    return len(text) > MAX_CHARS or marks(text) > MAX_MARKS or _most_cells(text) > MAX_CELLS


def _most_cells(text: str) -> int:
    """Return the most cells that a text's tables can have; a table ends at an empty line."""
    cells = widest = rows = 0
    for line in [*text.splitlines(), ""]:
        if line.strip():
            rows, widest = rows + 1, max(widest, line.count("|"))
        else:
            cells, rows, widest = cells + rows * widest, 0, 0
    return cells


# containment


def block(text: str, reserved: Reserved) -> str:
    """Contain Markdown between two headings of ours: it affects no later text, and imitates none.

    Only such parts are changed: headings are lowered; HTML, definitions and `reserved` quotations
    get a backslash; an open block of code is closed. A text that is too costly to parse, or that
    would still affect later text, becomes a block of code.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if is_costly(text):
        return _verbatim(text)
    if not _SUSPECT.search(text):
        return text
    tamed = _tamed(text, reserved)
    return tamed if all(_stays(parser, tamed, reserved) for parser in _PARSERS) else _verbatim(text)


def line(text: str) -> str:
    """Put a text on one line, where a line break would end a heading or a quotation."""
    text = " ".join(text.split())
    if "<" in text and (is_costly(text) or _has_html(_PARSERS[0].parseInline(text))):
        return _PUNCTUATION.sub(r"\\\1", text)
    return text


def _verbatim(text: str) -> str:
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{text}\n{fence}"


def _tamed(text: str, reserved: Reserved) -> str:
    lines = text.split("\n")
    env: dict[str, Any] = {}
    tokens = _PARSERS[0].parse(text, env)
    for token in tokens:
        first, end = token.map or (0, 0)
        if token.type == "heading_open":
            _lower(lines, token)
        elif token.type == "html_block":
            lines[first:end] = [_OPEN_TAG.sub(r"\\<", each) for each in lines[first:end]]
        elif token.type == "inline":
            lines[first:end] = _without_html("\n".join(lines[first:end]), token).split("\n")
    for definition in [*env.get("references", {}).values(), *env.get("duplicate_refs", ())]:
        at = definition["map"][0]
        lines[at] = lines[at].replace("[", "\\[", 1)
    for token in _quotes(tokens, reserved):
        first, end = token.map or (0, 0)
        lines[first:end] = [_QUOTE.sub(r"\1\\>", each) for each in lines[first:end]]
    if tokens and tokens[-1].type == "fence" and _is_open(tokens[-1], text.split("\n")):
        lines.append(tokens[-1].markup)
    return "\n".join(lines)


def _lower(lines: list[str], heading: Token) -> None:
    first, end = heading.map or (0, 1)
    if heading.markup.startswith("#"):
        more = min(_LEVELS_OF_OURS, 6 - len(heading.markup))
        lines[first] = lines[first].replace("#", "#" * (more + 1), 1)
    else:  # its underline
        lines[end - 1] = lines[end - 1].replace(heading.markup, "\\" + heading.markup, 1)


def _without_html(source: str, inline: Token) -> str:
    at = 0
    for child in inline.children or ():
        if child.type not in ("html_inline", "code_inline"):
            continue
        found = re.compile(r"(?<!\\)" + re.escape(child.content)).search(source, at)
        if found and child.type == "html_inline":
            source = f"{source[: found.start()]}\\{source[found.start() :]}"
        at = found.end() if found else at
    return source


def _is_open(fence: Token, lines: list[str]) -> bool:
    first, end = fence.map or (0, 0)
    last = lines[end - 1].strip()
    closes = len(last) >= len(fence.markup) and not last.strip(fence.markup[0])
    return end - first < 2 or not closes or lines[end - 1].startswith("    ")


def _stays(parser: MarkdownIt, text: str, reserved: Reserved) -> bool:
    """Whether a parser reads what follows a text as if the text were not there."""
    env: dict[str, Any] = {}
    tokens = parser.parse(f"{text}\n\n# end", env)
    *others, end, _, _ = tokens
    return (
        not env.get("references")
        and (end.type, end.level, (end.map or [0])[0]) == ("heading_open", 0, text.count("\n") + 2)
        and all(_is_harmless(token) for token in others)
        and not any(_quotes(tokens, reserved))
        and not _has_html(tokens)
    )


def _is_harmless(token: Token) -> bool:
    if token.type == "heading_open" and int(token.tag[1]) <= _LEVELS_OF_OURS:
        return False
    return token.level < _MAX_LEVEL


def _has_html(tokens: list[Token]) -> bool:
    return any(
        token.type in ("html_block", "html_inline") or _has_html(token.children or [])
        for token in tokens
    )


def _quotes(tokens: list[Token], reserved: Reserved) -> Iterator[Token]:
    """Yield the quotations whose start is reserved."""
    for number, token in enumerate(tokens):
        if token.type == "blockquote_open" and token.level == 0:
            inline = next((later for later in tokens[number:] if later.type == "inline"), None)
            texts = (child.content for child in (inline and inline.children) or ())
            if reserved("".join(texts).strip()):
                yield token


#: Markdown as most programs parse it, and strict CommonMark.
_PARSERS = (
    MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]),
    MarkdownIt("commonmark", {"html": True}),
)
