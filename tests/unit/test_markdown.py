"""Markdown of strangers costs a page of ours a bounded amount of work, whatever they write."""

import re
import sys
from html import unescape

import pytest

from agent.markdown import html, source

#: What is repeated to keep a parser busy.
HOSTILE = [
    "![",
    "[[a]",
    "*_",
    "[a][",
    "- a\n",
    "=\n",
    "[",
    "#\n",
    "**_a",
    "***a**b*",
    "[a](",
    "a\n\n",
    "a\n=\n",
    "a**b",
    "[a]:\n",
    "> - " * 20 + "a\n",
    "`a",
    ">>a\n",
    "[a](b)",
    "<http://a.b> ",
    *(
        "&#",
        '[a](b "',
        "[a]: <",
        "a|b\n-|-\n",
        "\\[",
        "http://a.b ",
        ">",
        "```\na\n",
        "<!--",
        "~~a ",
    ),
]
#: Python functions that the parser calls, at most, for a mark and for a character.
CALLS_OF_MARK, CALLS_OF_CHAR = 120, 3


def calls(function, *arguments):
    """How many Python functions are called, and what is returned."""
    number = 0

    def count(_frame, event, _argument):
        nonlocal number
        number += event == "call"

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        result = function(*arguments)
    finally:
        sys.setprofile(before)
    return number, result


def largest(piece):
    """The longest repetition that is still read as Markdown."""
    text = piece
    while not source.is_costly(text * 2):
        text *= 2
    while not source.is_costly(text + piece * 50):
        text += piece * 50
    return text


@pytest.mark.parametrize("piece", HOSTILE)
def test_the_work_for_a_text_grows_with_its_marks(piece):
    text = largest(piece)
    number, page = calls(html.to_html, text)
    assert html.AS_WRITTEN not in page
    assert number <= CALLS_OF_MARK * source.marks(text) + CALLS_OF_CHAR * len(text)


@pytest.mark.parametrize("piece", HOSTILE)
def test_a_text_with_more_is_shown_as_it_was_written(piece):
    text = piece * (60_000 // len(piece))
    number, page = calls(html.to_html, text)
    assert html.AS_WRITTEN in page
    assert number < 2000


def test_long_answers_with_code_and_tables_are_rendered():
    code = "```py\ndef a_b(c_d: list[int]) -> None:\n    return c_d[0] * 2  # `x`\n```\n\n"
    table = "| a | b |\n|---|---|\n" + "| `x` | **y** |\n" * 5 + "\n"
    words = "Some *words* about [this](https://example.org), and that.\n\n"
    text = (code + table + words * 5 + "- one\n- two\n\n") * 25
    assert len(text) > 12_000
    assert html.AS_WRITTEN not in html.to_html(text)


def test_a_page_of_hostile_texts_costs_as_much_as_a_few_of_them():
    budget, text = html.Budget(), "![" * (source.MAX_MARKS // 2 - 2)
    pages = [budget.to_html(text) for _ in range(50)]
    rendered = [page for page in pages if html.AS_WRITTEN not in page]
    assert len(rendered) == html.MARKS_OF_PAGE // source.marks(text)
    assert "Later." in budget.to_html("Later.")


def test_what_is_shown_as_it_was_written_is_harmless():
    page = html.as_written("<script>alert(1)</script> & more")
    assert "&lt;script&gt;" in page and "<script" not in page


@pytest.mark.parametrize(
    "source",
    [
        r"Euler: \( e^{i\pi}+1=0 \) holds",
        r"\[ \int_0^1 x\,dx \]",
        "$$\na &amp;= 1 \\\\\n- b &amp;= 2\n$$".replace("&amp;", "&"),
        "so $a_1 * b_2 = c_3$",
        r"C:\proj\_scratch\.venv and \\server\share",
    ],
)
def test_formulas_and_paths_keep_every_character(source):
    assert unescape(re.sub(r"<[^>]+>", "", html.to_html(source))).strip() == source


def test_prices_and_escapes_are_no_formulas():
    assert html.to_html(r"\$5 and $10, \*no\*") == "<p>$5 and $10, *no*</p>\n"
