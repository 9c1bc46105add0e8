"""Masks secrets in log lines: a second line of defence, if a secret is logged by mistake.

It masks fields by name, and patterns of secrets in the finished line, so that it also covers
tracebacks and the lines of libraries. It knows the secrets of this deployment by value.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, MutableMapping
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

MASK = "***"
_SHORTEST_SECRET = 6

_NAMES = (
    r"(?:proxy-)?authorization|(?:set-)?cookies?|sec-websocket-protocol|x-csrftoken"
    r"|(?:__host-|__secure-)?(?:sessionid|csrftoken|agent_visitor)|csrfmiddlewaretoken"
    r"|passwords?|passwd|pwd|secrets?|secret_key|api_?keys?|access_?tokens?|tokens?|resume_token"
)
_COUNTS = r"(?!(?:prompt|completion|max|total)_tokens)"
_NAME = re.compile(rf"{_COUNTS}(?:\w*_)?(?:{_NAMES})", re.IGNORECASE)

# No pattern matches a quote or a backslash, so that a line of JSON stays valid. Each takes time in
# proportion to the line, whose length clients choose: it starts only once in a run of characters
# that it can match.
_RULES = [
    # headers, in every kind of repr: to the end of the value
    (
        r"\b((?:proxy-)?authorization|(?:set-)?cookie|sec-websocket-protocol|x-csrftoken)"
        r"""(\\?['"]?\s*[:=,]\s*b?\\?['"]?)([^'"\r\n\\]+)""",
        rf"\1\2{MASK}",
    ),
    # name=value, name: value
    (
        rf"""(?<![\w-]){_COUNTS}((?:\w*_)?(?:{_NAMES}))(\\?['"]?\s*[:=]\s*b?\\?['"]?)([^\s'"&;,\\]+)""",
        rf"\1\2{MASK}",
    ),
    (r"\b(bearer|basic)([ .+])(?=[\w.~+/=-]{0,200}\d)[\w.~+/=-]{6,}", rf"\1\2{MASK}"),
    (r"\bsk-[\w-]{8,}", f"sk-{MASK}"),
    # values that we sign: resume tokens and visitor cookies
    (r"\b[0-9a-f]{32}[.:][\w-]{20,}", MASK),
    # a password within an address
    (r"""(?<![a-z0-9+.-])([a-z][a-z0-9+.-]*://[^\s/:@'"\\]*):([^\s/@'"\\]+)@""", rf"\1:{MASK}@"),
    # anything that looks like random bytes in base64
    (r"(?<![\w-])(?=[\w-]*\d)(?-i:(?=[\w-]*[a-z])(?=[\w-]*[A-Z]))[\w-]{32,}", MASK),
]


def secrets_of(*values: str) -> tuple[str, ...]:
    """Return the secret parts of settings: the passwords of an address, else the whole value."""
    found = set()
    for value in values:
        for secret in _passwords(value) if "://" in value else [value]:
            found |= {secret, unquote(secret)}
    return tuple(sorted((s for s in found if len(s) >= _SHORTEST_SECRET), key=len, reverse=True))


def _passwords(address: str) -> list[str]:
    parts = urlsplit(address)
    options = parse_qsl(parts.query)
    return [parts.password or "", *(value for name, value in options if is_secret_name(name))]


def is_secret_name(name: str) -> bool:
    """Whether a field, header, setting or cookie with this name is secret."""
    return _NAME.fullmatch(name) is not None


class Redaction:
    """Two steps of a chain of structlog processors.

    Args:
        secrets: texts to mask wherever they occur.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        self._rules = [(re.compile(rule, re.IGNORECASE), mask) for rule, mask in _RULES]
        self._rules[:0] = [(re.compile(re.escape(secret)), MASK) for secret in secrets]

    def fields(self, _: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """Mask fields with the name of a secret."""
        for name in event:
            if isinstance(name, str) and is_secret_name(name):
                event[name] = MASK
        return event

    def line(self, _: Any, __: str, text: str) -> str:
        """Mask texts that look like secrets in a finished line."""
        for rule, mask in self._rules:
            text = rule.sub(mask, text)
        return text
