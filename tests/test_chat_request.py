"""The request that a provider is sent."""

from __future__ import annotations

from typing import Any

import pytest

from agent.provider.errors import provider_error
from agent.provider.request import (
    Adaptation,
    ChatRequest,
    body_of,
    endpoint,
    headers_of,
    refused_parameter,
)

QUESTION = [{"role": "user", "content": "Hello"}]


def body(host: str = "localhost", *refused: str, **options: Any) -> dict[str, Any]:
    request = ChatRequest(messages=QUESTION, models=options.pop("models", ("m",)), **options)
    return body_of(request, host, [Adaptation(name) for name in refused])


def test_without_fallbacks_and_settings_the_body_holds_what_every_server_knows() -> None:
    assert body() == {
        "model": "m",
        "messages": QUESTION,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_at_most_three_fallbacks_are_sent() -> None:
    assert body(models=("m", "a", "b", "c", "d"))["models"] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("api.openai.com", "max_completion_tokens"),
        ("mine.openai.azure.com", "max_completion_tokens"),
        ("openrouter.ai", "max_tokens"),
        ("api.openai.com.example.org", "max_tokens"),
        ("localhost", "max_tokens"),
    ],
)
def test_the_token_limit_has_the_name_that_the_host_takes(host: str, name: str) -> None:
    sent = body(host, max_tokens=10)
    assert {key for key in sent if "tokens" in key} == {name}


def test_the_effort_has_the_shape_that_the_host_takes() -> None:
    assert body("openrouter.ai", reasoning_effort="low")["reasoning"] == {"effort": "low"}
    assert body("api.x.ai", reasoning_effort="low")["reasoning_effort"] == "low"


@pytest.mark.parametrize(
    ("base_url", "url"),
    [
        ("http://h/v1", "http://h/v1/chat/completions"),
        ("http://h", "http://h/chat/completions"),
        ("http://h/v1/", "http://h/v1/chat/completions"),
        ("http://h/v1/chat/completions", "http://h/v1/chat/completions"),
        ("http://h/v1/chat/completions/?a=b", "http://h/v1/chat/completions?a=b"),
        ("https://h:8443/x?api-version=1&b", "https://h:8443/x/chat/completions?api-version=1&b"),
        ("http://[::1]:1/v1", "http://[::1]:1/v1/chat/completions"),
        (" http://h/v1 ", "http://h/v1/chat/completions"),
        ("http://my_model-1.local./v1", "http://my_model-1.local./v1/chat/completions"),
        ("http://hé.example/v1", "http://hé.example/v1/chat/completions"),
    ],
)
def test_the_path_is_added_to_the_base_url_s_path(base_url: str, url: str) -> None:
    assert endpoint(base_url).url == url


def test_credentials_of_the_base_url_become_a_header_and_leave_the_url() -> None:
    found = endpoint("http://us%40er:p%3Aw@h:1/v1")
    assert found.url == "http://h:1/v1/chat/completions"
    headers = headers_of("key", found.credentials, "", "")
    assert headers["Authorization"] == "Basic dXNAZXI6cDp3"


@pytest.mark.parametrize(
    "base_url",
    [
        "",
        "h/v1",
        "ftp://h",
        "http://",
        "http://h:0",
        "http://h:99999",
        "http://h#x",
        "http://h/a b",
        "http://h/a\0b",
        "http://h..x/v1",
        "http://.",
        "http://*/v1",
        "http://h%zz/v1",
        "http://999.1.1.1/v1",
        "http://-bad/v1",
        "http://$HOST/v1",
        "http://<host>/v1",
        "http://one,two/v1",
        "http://h\\x/v1",
        "http://[::1/v1",
        "http://user:pw@/v1",
        f"http://{'a' * 64}.example/v1",
        f"http://{'a.' * 127}example/v1",
    ],
)
def test_a_base_url_that_cannot_work_is_refused_without_repeating_it(base_url: str) -> None:
    with pytest.raises(ValueError, match=r"^The provider's base URL") as caught:
        endpoint(base_url)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("words", "parameter"),
    [
        ("Unrecognized request argument supplied: stream_options", "stream_options"),
        ("request refused: no_max_tokens", "max_tokens"),
        ("`temperature` and `top_p` cannot both be specified", "temperature"),
        ("the stream ended: stream_options_x is unknown", "stream"),
        ("System role not supported", "system"),
        ("Conversation roles must alternate user/assistant", "system"),
        ("something else", None),
        ("prompt is too long for max_tokens", None),
    ],
)
def test_an_error_s_words_name_the_parameter(words: str, parameter: str | None) -> None:
    sent = body(temperature=0.7, max_tokens=10)
    sent["messages"] = [{"role": "system", "content": "s"}, *QUESTION]
    found = refused_parameter(provider_error({"message": words}, 400), sent, [])
    assert (found and found.parameter) == parameter


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500])
def test_no_parameter_is_changed_for_other_errors(status: int) -> None:
    error = provider_error({"message": "temperature"}, status)
    assert refused_parameter(error, body(temperature=1), []) is None


def test_a_limit_that_is_too_large_for_one_request_is_not_remembered() -> None:
    error = provider_error({"message": "'max_tokens' is too large: 1500"}, 400)
    found = refused_parameter(error, body(max_tokens=1500), [])
    assert found == Adaptation("max_tokens", lasts=False)
