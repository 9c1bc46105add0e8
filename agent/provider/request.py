"""The request of a chat completion: its address, its headers, its body, and what a server refuses.

Pure, no I/O. Any OpenAI-compatible server is to be asked, and each refuses other parameters. So a
parameter that a server's error names is left out, or sent by its other name; see `Adaptation`.
"""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from .errors import ProviderError

#: OpenRouter takes no more.
MAX_FALLBACK_MODELS = 3
REASONING_EFFORTS = ("minimal", "low", "medium", "high")

_PATH = "/chat/completions"
_MAX_HOST_CHARS = 253
#: With underscores, which names of containers have.
_HOST = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_.])?", re.IGNORECASE)
_TOKEN_LIMITS = ("max_tokens", "max_completion_tokens")
#: What may be left out, in the order in which an error's words are searched.
_OPTIONAL = (
    *_TOKEN_LIMITS,
    *("temperature", "stream_options", "reasoning_effort", "reasoning", "models", "stream"),
)
_SYSTEM_ROLE = re.compile(
    r"system|developer instruction|roles must alternate|only user\b.{0,40}\broles are supported"
)
#: Where servers call a parameter otherwise.
_SPELLINGS = {
    "reasoning_effort": r"reasoning[ _]effort|support thinking|think value",
    "stream_options": r"stream[ _]options|include_usage",
}
_TOO_MUCH = re.compile(r"too (large|high|big)|exceed|at most|greater|less than")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """What a model is asked.

    Args:
        messages: `role` and `content` of each, oldest first.
        models: the model's name, then those that OpenRouter is to try in its place.
        temperature, max_tokens: of the answer; None: not sent.
        reasoning_effort: one of `REASONING_EFFORTS`; empty: not sent.
    """

    messages: Sequence[Mapping[str, str]]
    models: Sequence[str]
    temperature: float | None = None
    max_tokens: int | None = None
    reasoning_effort: str = ""


@dataclass(frozen=True, slots=True)
class Adaptation:
    """A parameter that a server refused: left out, or renamed, or the system prompt moved.

    `lasts` tells that it is the model's, and not this request's, so that it is worth remembering.
    """

    parameter: str
    lasts: bool = True


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a provider is asked.

    `credentials` are those of the address, as a header's value; the address has none of them. The
    `secrets` are what no log line may show.
    """

    url: str
    host: str
    credentials: str = ""
    secrets: tuple[str, ...] = ()


def endpoint(base_url: str) -> Endpoint:
    """The address of chat completions at a base URL, of which the path and the query are kept.

    Raises:
        ValueError: the base URL cannot work.
    """
    try:
        parts = urlsplit(base_url.strip())
        is_usable = parts.scheme in ("http", "https") and parts.port != 0
        name = parts.hostname if is_usable else None
    except ValueError:  # `port` looks at its range, and would tell what the address is
        name = None
    if not name or not _is_host(name):
        raise ValueError("The provider's base URL is not an http(s) address.")
    unreadable = any(char.isspace() or not char.isprintable() for char in base_url.strip())
    if parts.fragment or unreadable:
        raise ValueError("The provider's base URL has a fragment or blanks.")
    path = parts.path.rstrip("/")
    if not path.endswith(_PATH):
        path += _PATH
    host = parts.netloc.rpartition("@")[2]
    url = urlunsplit((parts.scheme, host, path, parts.query, ""))
    if parts.username is None:
        return Endpoint(url, name)
    password = unquote(parts.password or "")
    packed = base64.b64encode(f"{unquote(parts.username)}:{password}".encode()).decode()
    secrets = (packed, password, parts.password or "")
    return Endpoint(url, name, f"Basic {packed}", secrets)


def _is_host(name: str) -> bool:
    """Whether a connection to it can be tried: a name of labels, or an IP address."""
    if ":" in name:  # IPv6, which stood in brackets
        return True
    try:
        ascii_name = name.encode("idna").decode()  # no label is empty or too long
        if re.fullmatch(r"[0-9.]+", ascii_name):
            ipaddress.IPv4Address(ascii_name)
    except ValueError:
        return False
    return len(ascii_name) <= _MAX_HOST_CHARS and bool(_HOST.fullmatch(ascii_name))


def headers_of(api_key: str, credentials: str, title: str, referer: str) -> dict[str, str]:
    """The headers of every request.

    Args:
        api_key: sent as a bearer token; empty: none is sent.
        credentials: of the base URL; they count in place of the key, since a gateway checks them.
        title, referer: who asks, shown by OpenRouter.

    Raises:
        ValueError: the key cannot be one.
    """
    bearer = f"Bearer {api_key.strip()}" if api_key.strip() else ""
    headers = {
        "Content-Type": "application/json",
        "Accept": "text/event-stream",
        "Accept-Encoding": "identity",  # unpacking has no bound
        "Cache-Control": "no-store",
        "X-Title": _printable(title),
        "HTTP-Referer": _printable(referer),
        "Authorization": credentials or bearer,
    }
    if headers["Authorization"] != _printable(headers["Authorization"]):
        raise ValueError("The provider's API key has characters that no key has.")
    return {name: value for name, value in headers.items() if value}


def body_of(request: ChatRequest, host: str, adaptations: Sequence[Adaptation]) -> dict[str, Any]:
    """The body of a request for a streamed answer with usage.

    Args:
        request: what is asked.
        host: of the provider, which decides on the names of parameters.
        adaptations: what the server refused so far, in this order.
    """
    model, *fallback_models = request.models
    body: dict[str, Any] = {
        "model": model,
        "messages": list(request.messages),
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if request.temperature is not None:
        body["temperature"] = request.temperature
    if request.max_tokens is not None:
        body[_TOKEN_LIMITS[_is_openai(host)]] = request.max_tokens
    if request.reasoning_effort and _is_at(host, "openrouter.ai"):
        body["reasoning"] = {"effort": request.reasoning_effort}
    elif request.reasoning_effort:
        body["reasoning_effort"] = request.reasoning_effort
    if fallback_models:  # other servers may not know the name
        body["models"] = fallback_models[:MAX_FALLBACK_MODELS]
    renamed = False
    for adaptation in adaptations:
        renamed = (
            _leave_out(body, adaptation.parameter, rename=adaptation.lasts and not renamed)
            or renamed
        )
    return body


def refused_parameter(
    error: ProviderError, body: Mapping[str, Any], adaptations: Sequence[Adaptation]
) -> Adaptation | None:
    """What of a request its provider refused, if the error names something that can be changed.

    Args:
        error: the provider's.
        body: of the request.
        adaptations: those that it has already; none is tried twice.
    """
    if error.status not in (400, 422) or error.is_too_long():
        return None
    tried = {adaptation.parameter for adaptation in adaptations}
    for parameter in _OPTIONAL:
        if parameter in body and parameter not in tried and _names(error, parameter):
            return Adaptation(parameter, lasts=not _TOO_MUCH.search(error.words))
    says_system = any(message["role"] == "system" for message in body["messages"])
    if "system" not in tried and says_system and _SYSTEM_ROLE.search(error.words):
        return Adaptation("system")
    return None


def _names(error: ProviderError, parameter: str) -> bool:
    if error.parameters & set(_OPTIONAL):  # the field for it says more than the words
        return parameter in error.parameters
    name = _SPELLINGS.get(parameter, parameter)
    return bool(re.search(rf"(?<![a-z])({name})(?![a-z]|_[a-z])", error.words))


def _leave_out(body: dict[str, Any], parameter: str, *, rename: bool) -> bool:
    """Take a parameter out; whether it was put in again by its other name."""
    if parameter == "system":
        body["messages"] = _without_system_role(body["messages"])
        return False
    value = body.pop(parameter, None)
    if parameter == "stream":
        body.pop("stream_options", None)
    if parameter in _TOKEN_LIMITS and rename and value is not None:
        body[_TOKEN_LIMITS[parameter == _TOKEN_LIMITS[0]]] = value
        return True
    return False


def _without_system_role(messages: Sequence[Mapping[str, str]]) -> list[Mapping[str, str]]:
    """The messages with what the system says at the beginning of what the user says first."""
    said = "\n\n".join(m["content"] for m in messages if m["role"] == "system")
    others = [m for m in messages if m["role"] != "system"]
    if others and others[0]["role"] == "user":
        first = {**others[0], "content": f"{said}\n\n{others[0]['content']}"}
        return [first, *others[1:]]
    return [{"role": "user", "content": said}, *others]


def _is_openai(host: str) -> bool:
    """Whether a host is OpenAI's or Azure's, whose models know `max_completion_tokens` alone."""
    return _is_at(host, "api.openai.com") or _is_at(host, "openai.azure.com")


def _is_at(host: str, domain: str) -> bool:
    return host == domain or host.endswith(f".{domain}")


def _printable(text: str) -> str:
    return "".join(character for character in text if " " <= character <= "~")
