"""In an export every message stays between its own heading and the next, whatever is in it."""

import re
from types import SimpleNamespace
from uuid import UUID

import pytest
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from agent.actions import export_markdown
from agent.markdown import source

READERS = [
    MarkdownIt("commonmark"),
    MarkdownIt("gfm-like", {"linkify": False, "html": True}),
]
TIME = "2026-01-02T03:04:05.678Z"
HEADING = re.compile(r"(Question|Answer|Staff) · 2026-01-02 03:04 UTC")


def query(text):
    return {"type": "query", "timestamp": TIME, "content": text}


def response(text, reason="stop"):
    facts = {"timestamp": TIME, "author": "agent", "finish_reason": reason}
    return {"type": "response", "content": text, **facts}


def failed(text, words="It failed."):
    facts = {"timestamp": TIME, "code": "provider_timeout", "content": words}
    return {"type": "error", "partial": text, **facts}


def feedback(text):
    return {"type": "feedback", "timestamp": TIME, "rating": "up", "content": text}


def notification(text):
    facts = {"event": "message", "level": "info", "timestamp": TIME}
    return {"type": "notification", "content": text, **facts}


def exported(frames, title="A title"):
    session = SimpleNamespace(
        id=UUID(int=0), title=title, preview="", created_at=timezone.now().replace(year=2025)
    )
    return export_markdown.head(session) + "".join(map(export_markdown.written, frames))


def outline(text, reader):
    """Headings of the first two levels, whether they are at the top, and their words."""
    tokens = reader.parse(text)
    return [
        (token.tag, token.level, tokens[number + 1].content)
        for number, token in enumerate(tokens)
        if token.type == "heading_open" and token.tag in ("h1", "h2")
    ]


def html(tokens):
    for token in tokens:
        if token.type in ("html_block", "html_inline"):
            yield token.content
        yield from html(token.children or [])


def our_quotes(text, reader):
    """Quotations at the top whose words look like ours."""
    tokens = reader.parse(text)
    begins = [
        "".join(child.content for child in tokens[number + 2].children or ())
        for number, token in enumerate(tokens[:-2])
        if token.type == "blockquote_open" and token.level == 0
    ]
    return [words for words in begins if re.match(r"Error \(|info · |rated the", words)]


def check(*texts):
    """All texts, as each kind of frame, make a file of as many parts as there are frames."""
    frames = []
    for text in texts:
        frames += [query(text), response(text), response(text, "cancelled"), failed(text, text)]
        frames += [feedback(text), notification(text)]
    file = exported(frames, title=texts[0])
    for reader in READERS:
        env = {}
        tokens = reader.parse(file, env)
        assert list(html(tokens)) == []
        assert not env.get("references")
        first, *others = outline(file, reader)
        assert first[:2] == ("h1", 0)
        assert [one[:2] for one in others] == [("h2", 0)] * (4 * len(texts))
        assert all(HEADING.fullmatch(words) for _, _, words in others)
        assert len(our_quotes(file, reader)) == 3 * len(texts)


NASTY = [
    "```",
    "```\nWait",
    "````\n```\nx",
    "````md\n```\ncode\n```",
    "``` a`b\n",
    "~~~\nabc",
    "~~~~\n~~~",
    "~~~\n```\n~~~\n```",
    "```\n ~~~",
    "```\ncode\n    ```",
    "- ```\n  x",
    "- a\n\n  ~~~\n  x",
    "1. ```\n   x\n   ```\n2. ````",
    "> ```\n> x",
    "> > ~~~",
    "- > ```",
    "<!-- hi",
    "<!--",
    "a <!-- b",
    "a\n<!-- b\n\n## Question · x\n\n-->",
    "<script>",
    "<script>\nlet a;\n\n## Answer\n",
    "<style>\n\nx",
    "<pre>\n\nx",
    "<textarea>",
    "- <script>\n  x",
    "> <script>",
    "<div>",
    "<div>\n# h\n</div>",
    "<details><summary>x</summary>\n\ny",
    "a<br>b <b>c",
    "|a|b|\n|-|-|\n|<br>|<br>|\n|<!-- | -->|",
    "`<b>` <b>",
    "\\<b> <b> \\\\<b>",
    "<b\n>",
    "> a <b\n> c> d",
    "<?php",
    "<!DOCTYPE",
    "<![CDATA[",
    "<plaintext>",
    "[Question]: http://evil.test",
    "[a]: <x\n> y",
    "[a]: b\n[a]: c\n[d]:\ne 'f'",
    "> [a]: b",
    "- [a]: b",
    "[a\n]: b",
    "[^1]: note",
    "# Session",
    "## Question · 2026-01-02 03:04 UTC",
    "   ## Answer · 2026-01-02 03:04 UTC ##",
    "Question · 2026-01-02 03:04 UTC\n---",
    "Answer\n===",
    "a\nb\n  ==  ",
    "- Answer\n  ===",
    "- # x",
    "> ## Question",
    "> x\n> ===",
    "###### six",
    "#",
    "##",
    "---\ntitle: x\n---",
    "---",
    "***",
    "> **Error** (internal_error): no",
    "> **info** · 2026-01-02 03:04 UTC: done",
    "> *rated the answer 👍*",
    ">**Error** (x): y\n> **Error** (x)",
    "> __Error__ (x)",
    "a\n> **Error** (x): y",
    "    > **Error** (x)",
    "|a|\n|-|\n",
    "a | b\n--- | ---\n",
    "a\n-",
    "\x00```",
    "```\r~~~\rx",
    "x\r\n===\r\n",
    "\u2028```\u2028",
    "\t```",
    "\x0b# x",
    "> " * 30 + "# x",
    "- " * 30 + "```",
    ">" * 25 + "[a]: b",
    "",
    " ",
    "\n\n",
    "\\",
    "`",
    "**",
    "a  ",
    "- ",
    "&#35; x",
    "[x](<",
    "x" * 60_000 + "\n```",
]


@pytest.mark.parametrize("text", NASTY)
def test_no_message_swallows_or_forges_another(text):
    check(text)
    check("plain", text, "plain")


PIECES = st.sampled_from(
    [
        "```",
        "````",
        "~~~",
        "`",
        "<",
        ">",
        "!",
        "--",
        "-->",
        "<!--",
        "<script>",
        "</script>",
        "<div",
        "/>",
        "<b>",
        "#",
        "## ",
        "=",
        "===",
        "---",
        "-",
        "* ",
        "1. ",
        "> ",
        "|",
        "|-|",
        *(
            "[a]",
            "]:",
            ": ",
            "http://x",
            "[",
            "]",
            "(",
            ")",
            "\\",
            "&lt;",
            "\n",
            "\n\n",
            "\r",
            "\t",
        ),
        *(
            " ",
            "    ",
            "a",
            "Question",
            "**Error** (",
            "**info** · ",
            "*rated the answer*",
            "é",
            "\0",
        ),
    ]
)


@settings(max_examples=100, deadline=None, database=None)
@given(st.lists(st.lists(PIECES, max_size=20).map("".join), min_size=1, max_size=2))
def test_no_messages_swallow_or_forge_each_other(texts):
    check(*texts)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("Plain.\n\n- a\n- b\n\n1 < 2, a > b & `c`", None),
        ("```py\nif a < b: # no heading\n```\n\nSo.", None),
        ("- a\n\n  ```\n  x\n  ```", None),
        ("> A quotation.\n> **Note:** go on", None),
        ("|a|b|\n|-|-|\n|1|2|", None),
        ("# One\n\n## Two\n\n###### Six", "### One\n\n#### Two\n\n###### Six"),
        ("````\n```\nWait", "````\n```\nWait\n````"),
        ("~~~\nWait\n", "~~~\nWait\n\n~~~"),
        ("One\n===\n\nTwo\n---", "One\n\\===\n\nTwo\n\\---"),
        ("a<br>b, `<br>` and <i>c</i>", "a\\<br>b, `<br>` and \\<i>c\\</i>"),
        ("<!-- a -->\n\nb", "\\<!-- a -->\n\nb"),
        ("[a]: http://x\n\nb [a]", "\\[a]: http://x\n\nb [a]"),
        ("> **Error** (x): y", "\\> **Error** (x): y"),
    ],
)
def test_a_text_stays_as_it_was_written_but_for_what_would_not_stay_in_place(text, written):
    assert f"\n\n{text if written is None else written}\n" in exported([query(text)])


def test_what_cannot_be_kept_in_place_otherwise_becomes_a_block_of_code():
    text = "> a <b\n> c> `````\n```"
    assert f"``````\n{text}\n``````" in exported([query(text)])


def test_what_is_costly_to_read_is_not_read():
    text = "[" * (source.MAX_MARKS + 1)
    assert f"```\n{text}\n```" in exported([query(text)])
