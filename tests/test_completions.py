"""Decoding of what chat completions servers say."""

from __future__ import annotations

import json
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import ProviderUnavailable
from agent.provider.decoder import (
    MAX_ANSWER_CHARS,
    Chunk,
    Decoder,
    Delta,
    Finish,
    Reasoning,
    Usage,
    clean,
)
from agent.provider.event_stream import Document


def event(content: object = "", finish: str | None = None, **more: Any) -> str:
    choice = {"index": 0, "delta": {"content": content}, "finish_reason": finish}
    return json.dumps({"choices": [choice], **more})


def fed(decoder: Decoder, document: str) -> list[Chunk]:
    return list(decoder.feed(Document(document)))


def decoded(*documents: str) -> list[Chunk]:
    decoder = Decoder()
    chunks = [chunk for document in documents for chunk in fed(decoder, document)]
    return chunks + list(decoder.end())


def text_of(chunks: list[Chunk]) -> str:
    return "".join(chunk.text for chunk in chunks if isinstance(chunk, Delta))


def test_deltas_come_before_the_usage_and_the_finish_last() -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "cost": 0.1}
    documents = [event("a"), event("b"), event("", "stop"), event(usage=usage)]
    assert decoded(*documents) == [
        Delta("a"),
        Delta("b"),
        Usage(3, 2, Decimal("0.1"), None),
        Finish("stop"),
    ]


def test_usage_before_an_error_is_told_before_it_is_raised() -> None:
    decoder = Decoder()
    told = []
    document = event("", usage={"cost": 0.5}, error={"code": 502, "message": "no"})
    with pytest.raises(ProviderUnavailable):
        for chunk in decoder.feed(Document(document)):
            told.append(chunk)
    assert told == [Usage(None, None, Decimal("0.5"), None)]


def test_text_that_comes_with_an_error_is_kept() -> None:
    decoder = Decoder()
    told = []
    with pytest.raises(ProviderUnavailable):
        for chunk in decoder.feed(Document(event("last words", "error"))):
            told.append(chunk)
    assert told == [Delta("last words")]


def test_the_same_usage_is_told_once() -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 2}
    chunks = decoded(event("a", usage=usage), event("b", usage=usage), event("", "stop"))
    assert chunks == [Usage(3, 2, None, None), Delta("a"), Delta("b"), Finish("stop")]


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"cost": "0.25"}, Decimal("0.25")),
        ({"cost": 1e-12}, Decimal(0)),
        ({"cost": 3}, Decimal(3)),
        ({"cost": -1}, None),
        ({"cost": "x"}, None),
        ({"cost": True}, None),
        ({"cost": []}, None),
        ({"cost": 1e308}, None),
        ({"cost": "1e999999"}, None),
        ({"cost": "NaN"}, None),
    ],
)
def test_a_cost_is_a_small_decimal_or_unknown(usage: Any, expected: Decimal | None) -> None:
    first = decoded(event("a", "stop", usage={"prompt_tokens": 1, **usage}))[0]
    assert first == Usage(1, None, expected, None)


@pytest.mark.parametrize("count", [-1, 2**31, 1.5, "3", True, None, [], {}])
def test_a_count_of_tokens_is_a_whole_number_or_unknown(count: object) -> None:
    usage = {"prompt_tokens": count, "completion_tokens": 7}
    assert decoded(event("a", "stop", usage=usage))[0] == Usage(None, 7, None, None)


@pytest.mark.parametrize("document", ['{"usage": NaN}', '{"usage": {"cost": Infinity}}'])
def test_numbers_that_are_none_are_unknown(document: str) -> None:
    assert decoded(document, event("a", "stop")) == [Delta("a"), Finish("stop")]


@pytest.mark.parametrize(
    "document",
    ["", "null", "[]", "1", '"x"', "{", "[" * 100_000, '{"a":' * 100_000, "9" * 5000],
)
def test_a_document_that_is_no_object_is_noise_and_no_answer(document: str) -> None:
    decoder = Decoder()
    assert fed(decoder, document) == []
    with pytest.raises(ProviderUnavailable) as caught:
        list(decoder.end())
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"choices": None},
        {"choices": {}},
        {"choices": []},
        {"choices": [None]},
        {"choices": ["x"]},
        {"choices": [{}]},
        {"choices": [{"delta": None}]},
        {"choices": [{"delta": {"content": None}, "finish_reason": None}]},
        {"choices": [{"delta": {"content": [None, {"text": None}]}, "finish_reason": 5}]},
        {"choices": [{"delta": {"content": {}}, "finish_reason": {"type": None}}]},
        {"usage": "x", "model": 5},
    ],
)
def test_odd_documents_are_no_token_and_no_error(document: Any) -> None:
    decoder = Decoder()
    assert fed(decoder, json.dumps(document)) == []
    with pytest.raises(ProviderUnavailable):
        list(decoder.end())


@pytest.mark.parametrize("key", ["reasoning", "reasoning_content", "reasoning_details"])
@pytest.mark.parametrize(
    ("thought", "text"),
    [
        ("hm", "hm"),
        (["hm"], "hm"),
        ([{"type": "reasoning.summary", "summary": "hm"}], "hm"),
        ({"content": [{"text": "hm"}]}, "hm"),
        ([{"type": "reasoning.encrypted", "data": "gAAA"}], ""),
        ([[[[[[[[[["hm"]]]]]]]]]], ""),
    ],
)
def test_reasoning_is_a_token_whose_text_may_be_unreadable(
    key: str, thought: object, text: str
) -> None:
    document = {"choices": [{"delta": {"content": "", key: thought}}]}
    assert fed(Decoder(), json.dumps(document)) == [Reasoning(text)]


def test_refusals_and_parts_are_text() -> None:
    refusal = json.dumps({"choices": [{"delta": {"content": None, "refusal": "I will not."}}]})
    parts = event([{"type": "text", "text": " Never"}, {"type": "image"}, {"text": "!"}], "stop")
    assert text_of(decoded(refusal, parts)) == "I will not. Never!"


@given(st.text(alphabet=st.characters(), max_size=50))
def test_clean_changes_nothing_but_nul_and_lone_surrogates(text: str) -> None:
    assert clean(text) == text.encode("utf-16-le", "surrogatepass").decode(
        "utf-16-le", "replace"
    ).replace("\0", "\ufffd")
    if "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text):
        assert clean(text) == text


_HALVES = st.sampled_from("ab\0\ud83d\ude00\u00e9\u65e5")


@given(st.lists(st.text(_HALVES, min_size=1, max_size=4), min_size=1, max_size=8))
def test_however_a_text_is_cut_into_tokens_it_comes_out_clean(tokens: list[str]) -> None:
    text = text_of(decoded(*(event(token) for token in tokens), event("", "stop")))
    assert text == clean("".join(tokens))
    text.encode()  # no surrogates
    assert "\0" not in text


def test_an_answer_is_bounded() -> None:
    decoder = Decoder()
    piece = "x" * 300_000
    chunks = [chunk for _ in range(4) for chunk in fed(decoder, event(piece))]
    assert decoder.is_full
    assert len(text_of(chunks)) == MAX_ANSWER_CHARS
    assert list(decoder.end()) == [Finish("length")]


def test_a_model_s_name_is_clean_and_short() -> None:
    [usage, _, _] = decoded(event("a", "stop", model="m\0" + "x" * 500))
    assert isinstance(usage, Usage)
    assert usage.model == "m\ufffd" + "x" * 198


_NOTHING_LIKE_A_TAG = st.text(st.characters(exclude_characters="<", exclude_categories=["Cs"]))


@given(_NOTHING_LIKE_A_TAG, _NOTHING_LIKE_A_TAG, st.data())
def test_a_thinking_block_is_found_wherever_it_is_cut(
    thought: str, answer: str, data: st.DataObject
) -> None:
    whole = f"<think>{thought}</think>{answer}"
    cuts = sorted(data.draw(st.sets(st.integers(1, len(whole) - 1), max_size=6)))
    edges = [0, *cuts, len(whole)]
    pieces = [whole[start:end] for start, end in pairwise(edges)]
    chunks = decoded(*(event(piece) for piece in pieces), event("", "stop"))
    reasoning = "".join(chunk.text for chunk in chunks if isinstance(chunk, Reasoning))
    assert reasoning == clean(thought).lstrip("\n")
    assert text_of(chunks) == clean(answer).lstrip()
