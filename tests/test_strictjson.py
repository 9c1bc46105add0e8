"""JSON at the edge: what gets in is one object that every database can hold."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import InvalidJson, InvalidMessage
from agent.protocol.strict_json import parse_object, refuse_nul

plain_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**18), 10**18)
    | st.floats(allow_nan=False, allow_infinity=False)
    | plain_text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(plain_text, inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(plain_text, values, max_size=5), st.booleans())
def test_an_object_comes_back_as_it_was_sent(value, ascii_only):
    assert parse_object(json.dumps(value, ensure_ascii=ascii_only)) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "null",
        "[]",
        '"text"',
        "1",
        "{",
        '{"a": 1,}',
        '{"a": NaN}',
        '{"a": Infinity}',
        '{"a": -Infinity}',
        '{"a": 1e999}',
        '{"a": ' + "9" * 5000 + "}",
        '{"a": 1, "a": 2}',
        '{"b": {"a": 1, "a": 1}}',
        '{"a": "\\ud800"}',
        '{"\\udfff": 1}',
        '{"a": "' + "\ud800" + '"}',
        "[" * 100_000,
        '{"a":' * 100_000,
        '{"a": ' + "[" * 40 + "]" * 40 + "}",
        "\ufeff{}",
    ],
)
def test_what_is_not_one_plain_object_is_invalid_json(text):
    with pytest.raises(InvalidJson):
        parse_object(text)


def test_nul_characters_are_refused_wherever_they_are():
    for text in ('{"content": "a\\u0000b"}', '{"a": [{"b": "\\u0000"}]}', '{"\\u0000": 1}'):
        with pytest.raises(InvalidMessage):
            refuse_nul(text, parse_object(text))


def test_an_escaped_backslash_before_u0000_is_text():
    text = '{"a": "\\\\u0000"}'
    assert parse_object(text) == {"a": "\\u0000"}
    refuse_nul(text, parse_object(text))


def test_brackets_within_strings_are_not_nesting():
    text = json.dumps({"content": "[{" * 1000 + '"\\'})
    assert parse_object(text) == {"content": "[{" * 1000 + '"\\'}


def test_pairs_of_surrogates_are_one_character():
    assert parse_object('{"a": "\\ud83d\\ude00"}') == {"a": "\U0001f600"}
