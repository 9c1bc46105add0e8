"""Builds the request of a chat completion, and adapts it to the parameters that a server refuses.

Pure, no I/O. Every OpenAI-compatible server refuses other parameters. So a parameter that a
server's error names is left out, or sent by its other name; see `Adaptation`.
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

#: OpenRouter accepts no more.
MAX_FALLBACK_MODELS = 3
REASONING_EFFORTS = ("minimal", "low", "medium", "high")

_PATH = "/chat/completions"
_MAX_HOST_CHARS = 253
#: Underscores are allowed, because names of containers have them.
_HOST = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_.])?", re.IGNORECASE)
_TOKEN_LIMITS = ("max_tokens", "max_completion_tokens")
#: Parameters that may be left out, in the order in which an error's message is searched for them.
_OPTIONAL = (
    *_TOKEN_LIMITS,
    "temperature",
    "stream_options",
    "reasoning_effort",
    "reasoning",
    "models",
    "stream",
)
_SYSTEM_ROLE = re.compile(
    r"system|developer instruction|roles must alternate|only user\b.{0,40}\broles are supported"
)
#: Other names by which servers refer to a parameter.
_SPELLINGS = {
    "reasoning_effort": r"reasoning[ _]effort|support thinking|think value",
    "stream_options": r"stream[ _]options|include_usage",
}
_TOO_MUCH = re.compile(r"too (large|high|big)|exceed|at most|greater|less than")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """A request for one answer of a model.

    Args:
        messages: `role` and `content` of each, oldest first.
        models: the model's name, then the models that OpenRouter tries in its place.
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
    """A parameter that a server refused: it is left out or renamed, or the system prompt is moved.

    `lasts` says that the cause is the model and not this request, so it is worth remembering.
    """

    parameter: str
    lasts: bool = True


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The address of a provider, apart from its credentials.

    Args:
        url: the address, without credentials.
        host: the host of the address.
        credentials: the user and password of the base URL, as a header's value.
        secrets: texts that no log line may show.
    """

    url: str
    host: str
    credentials: str = ""
    secrets: tuple[str, ...] = ()


def endpoint(base_url: str) -> Endpoint:
    """Return the address of chat completions at a base URL, whose path and query are kept.

    Raises:
        ValueError: the base URL is invalid.
    """
    try:
        parts = urlsplit(base_url.strip())
        is_usable = parts.scheme in ("http", "https") and parts.port != 0
        name = parts.hostname if is_usable else None
    except ValueError:  # `port` checks its range, and its error would contain the address
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
    """Whether this can be a host: a name of labels, or an IP address."""
    if ":" in name:  # IPv6; it was in brackets
        return True
    try:
        ascii_name = name.encode("idna").decode()  # no label is empty or too long
        if re.fullmatch(r"[0-9.]+", ascii_name):
            ipaddress.IPv4Address(ascii_name)
    except ValueError:
        return False
    return len(ascii_name) <= _MAX_HOST_CHARS and bool(_HOST.fullmatch(ascii_name))


def headers_of(api_key: str, credentials: str, title: str, referer: str) -> dict[str, str]:
    """Return the headers of every request.

    Args:
        api_key: sent as a bearer token; empty: none is sent.
        credentials: of the base URL; they replace the key, since a gateway checks them.
        title, referer: name and address of this site, shown by OpenRouter.

    Raises:
        ValueError: the key has characters that no key can have.
    """
    bearer = f"Bearer {api_key.strip()}" if api_key.strip() else ""
    headers = {
        "Content-Type": "application/json",
        "Accept": "text/event-stream",
        "Accept-Encoding": "identity",  # decompression has no bound
        "Cache-Control": "no-store",
        "X-Title": _printable(title),
        "HTTP-Referer": _printable(referer),
        "Authorization": credentials or bearer,
    }
    if headers["Authorization"] != _printable(headers["Authorization"]):
        raise ValueError("The provider's API key has characters that no key has.")
    return {name: value for name, value in headers.items() if value}


def body_of(request: ChatRequest, host: str, adaptations: Sequence[Adaptation]) -> dict[str, Any]:
    """Return the body of a request for a streamed answer with usage.

    Args:
        request: the messages, the models and the parameters.
        host: the provider's, which decides the names of parameters.
        adaptations: to what the server refused so far, in this order.
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
    if fallback_models:  # other servers may not know this parameter
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
    """Return the adaptation for an error that names a parameter which can be changed, else None.

    Args:
        error: the provider's.
        body: of the request.
        adaptations: those of the request; none is tried twice.
    """
    if error.status not in (400, 422) or error.is_too_long():
        return None
    tried = {adaptation.parameter for adaptation in adaptations}
    for parameter in _OPTIONAL:
        if parameter in body and parameter not in tried and _names(error, parameter):
            return Adaptation(parameter, lasts=not _TOO_MUCH.search(error.message))
    says_system = any(message["role"] == "system" for message in body["messages"])
    if "system" not in tried and says_system and _SYSTEM_ROLE.search(error.message):
        return Adaptation("system")
    return None


def _names(error: ProviderError, parameter: str) -> bool:
    if error.parameters & set(_OPTIONAL):  # the field for it is more reliable than the message
        return parameter in error.parameters
    name = _SPELLINGS.get(parameter, parameter)
    return bool(re.search(rf"(?<![a-z])({name})(?![a-z]|_[a-z])", error.message))


def _leave_out(body: dict[str, Any], parameter: str, *, rename: bool) -> bool:
    """Remove a parameter from a body; returns whether it was added by its other name."""
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
    """Return the messages with the system prompt at the start of the first user message."""
    system = "\n\n".join(m["content"] for m in messages if m["role"] == "system")
    others = [m for m in messages if m["role"] != "system"]
    if others and others[0]["role"] == "user":
        first = {**others[0], "content": f"{system}\n\n{others[0]['content']}"}
        return [first, *others[1:]]
    return [{"role": "user", "content": system}, *others]


def _is_openai(host: str) -> bool:
    """Whether a host is OpenAI's or Azure's, whose models know only `max_completion_tokens`."""
    return _is_at(host, "api.openai.com") or _is_at(host, "openai.azure.com")


def _is_at(host: str, domain: str) -> bool:
    return host == domain or host.endswith(f".{domain}")


def _printable(text: str) -> str:
    return "".join(character for character in text if " " <= character <= "~")
