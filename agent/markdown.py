"""Markdown that a model or a stranger wrote, as HTML that may stand in a page of ours.

Two walls, each enough alone: the parser knows no raw HTML, no images and no links but absolute
ones to the web or to mail; what it makes passes an allow-list of tags and attributes.
"""

from __future__ import annotations

from urllib.parse import urlsplit

import nh3
from django.utils.html import format_html
from django.utils.safestring import SafeString
from markdown_it import MarkdownIt
from markdown_it.rules_core import StateCore

#: Longer texts are shown as they are: reading them takes too long for one request.
MAX_CHARS = 50_000
#: So are those whose tables might have more cells: the parser fills up short rows.
MAX_CELLS = 10_000

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
    """The Markdown `text` as safe HTML; headings start at level 4, links open a new tab."""
    if len(text) > MAX_CHARS or _most_cells(text) > MAX_CELLS:
        return format_html("<pre>{}</pre>", text)
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


def _most_cells(text: str) -> int:
    """How many cells the tables of a text can have at most; a table ends at an empty line."""
    cells = widest = rows = 0
    for line in [*text.splitlines(), ""]:
        if line.strip():
            rows, widest = rows + 1, max(widest, line.count("|"))
        else:
            cells, rows, widest = cells + rows * widest, 0, 0
    return cells


class _Parser(MarkdownIt):
    def validateLink(self, url: str) -> bool:
        """Let a link stand as text unless it names one of our schemes."""
        try:
            return urlsplit(url).scheme in _SCHEMES
        except ValueError:
            return False


def _lower_headings(state: StateCore) -> None:
    """The page has headings of its own above those of a text."""
    for token in state.tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(int(token.tag[1]) + 3, 6)}"


def _make_parser() -> MarkdownIt:
    parser = _Parser("commonmark", {"html": False})
    parser.enable(["table", "strikethrough"]).disable("image")
    parser.core.ruler.push("lower_headings", _lower_headings)
    return parser


_parser = _make_parser()
