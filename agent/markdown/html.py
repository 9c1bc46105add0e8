"""Renders untrusted Markdown, of a model or a user, as HTML that is safe in a page of ours.

Two defences, each sufficient alone: the parser supports no raw HTML, no images, and no links except
absolute ones to the web or to mail; its output passes an allow-list of tags and attributes.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import nh3
from django.utils.html import format_html
from django.utils.safestring import SafeString
from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock
from markdown_it.rules_core import StateCore
from markdown_it.rules_inline import StateInline

from .source import is_costly, marks

#: More than the answers of a page have, even long ones.
MARKS_OF_PAGE = 30_000
AS_WRITTEN = "Shown as it was written: it is too long, or has too much markup."

#: A formula has no blank line. The bound keeps a text of many openings cheap.
_LINES = r"(?:(?!\n[ \t]*\n)[\s\S]){1,500}?"
_AS_WRITTEN = re.compile(
    rf"\\\({_LINES}\\\)|\\\[{_LINES}\\\]|\$\${_LINES}\$\$"
    r"|\$(?![\s$])[^$\n`]{0,500}?[^$\s\\`]\$(?!\w)"
    r"|(?<=[A-Za-z]):(?:\\[^\s\\<>\"|?`*]+)+|\\\\\w[^\s<>\"|?`*]*"
)
_DISPLAYED = re.compile(rf"(?:\\\[{_LINES}\\\]|\$\${_LINES}\$\$)[.,;]?[ \t]*(?=\n|$)")

_SCHEMES = {"http", "https", "mailto"}
_TAGS = {
    "a",
    "blockquote",
    "br",
    "code",
    "del",
    "em",
    "h4",
    "h5",
    "h6",
    "hr",
    "li",
    "ol",
    "p",
    "pre",
    "s",
    "strong",
    "table",
    "tbody",
    "td",
    "th",
    "thead",
    "tr",
    "ul",
}
_ATTRIBUTES = {"a": {"href", "title"}, "ol": {"start"}}


def to_html(text: str) -> SafeString:
    """Render Markdown as safe HTML; headings start at level 4, links open a new tab.

    A text that would take too long to parse is shown as it was written.
    """
    return as_written(text) if is_costly(text) else _rendered(text)


def as_written(text: str) -> SafeString:
    """Return the source of a text as HTML, with a note that says why."""
    return format_html("<p><em>{}</em></p><pre>{}</pre>", AS_WRITTEN, text)


class Budget:
    """Renders the Markdown of one page, until it has cost as much as one request may.

    Args:
        marks: the cost that is allowed; see `source.marks`.
    """

    def __init__(self, marks: int = MARKS_OF_PAGE) -> None:
        self._left = marks

    def to_html(self, text: str) -> SafeString:
        self._left -= marks(text)
        return as_written(text) if self._left < 0 else to_html(text)


def _rendered(text: str) -> SafeString:
    return SafeString(
        nh3.clean(
            _parser.render(text),
            tags=_TAGS,
            attributes=_ATTRIBUTES,
            url_schemes=_SCHEMES,
            url_relative="deny",
            link_rel="noopener noreferrer nofollow",
            set_tag_attribute_values={"a": {"target": "_blank"}},
        )
    )


class _Parser(MarkdownIt):
    def validateLink(self, url: str) -> bool:
        """Whether a link has one of the allowed schemes; others stay text."""
        try:
            return urlsplit(url).scheme in _SCHEMES
        except ValueError:
            return False


def _lower_headings(state: StateCore) -> None:
    """Lower a text's headings by three levels, because the page has headings of its own."""
    for token in state.tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(int(token.tag[1]) + 3, 6)}"


def _formula(state: StateInline, silent: bool) -> bool:
    """A formula or a path is text as it was written: its backslashes escape nothing."""
    found = _AS_WRITTEN.match(state.src, state.pos)
    if not found or found.end() > state.posMax:
        return False
    if not silent:
        state.pending += found.group()
    state.pos = found.end()
    return True


def _displayed_formula(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """A formula on lines of its own, whose lines begin no list, heading or quotation."""
    first = state.bMarks[start] + state.tShift[start]
    found = _DISPLAYED.match(state.src, first, state.eMarks[end - 1])
    if not found or state.is_code_block(start):
        return False
    if silent:
        return True
    last = start
    while last < end and state.eMarks[last] < found.end():
        last += 1
    state.line = last + 1
    opening = state.push("paragraph_open", "p", 1)
    opening.map = [start, state.line]
    inline = state.push("inline", "", 0)
    inline.content = found.group().strip()
    inline.map = [start, state.line]
    inline.children = []
    state.push("paragraph_close", "p", -1)
    return True


def _make_parser() -> MarkdownIt:
    parser = _Parser("commonmark", {"html": False})
    parser.enable(["table", "strikethrough"]).disable("image")
    parser.inline.ruler.before("escape", "formula", _formula)
    parser.block.ruler.before(
        "code",
        "displayed_formula",
        _displayed_formula,
        {"alt": ["paragraph", "reference", "blockquote", "list"]},
    )
    parser.core.ruler.push("lower_headings", _lower_headings)
    return parser


_parser = _make_parser()
