"""The addresses of the site, for tests that walk over all of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from django.urls import get_resolver
from django.urls.resolvers import RoutePattern, URLPattern

#: Of patterns that are regular expressions, a path that each of them matches.
_EXAMPLES = {
    "^(?:ws/agent|functions/v1/agent_websocket)/?$": "ws/agent/",
    "^(?P<app_label>auth|agent)/$": "agent/",
    "^(?P<app_label>agent|auth)/$": "agent/",  # in the order in which they register
    "(?P<url>.*)$": "nowhere/",
    "^api/": "api/nowhere/",
}


def addresses(key: str = "1", patterns: Any = None, before: str = "/") -> Iterator[str]:
    """One address for each pattern of the site's URLs, with `key` for what varies in it."""
    for pattern in get_resolver().url_patterns if patterns is None else patterns:
        text = str(pattern.pattern)
        if isinstance(pattern.pattern, RoutePattern):
            here = before + re.sub(r"<[^>]*>", key, text)
        else:
            here = before + _EXAMPLES[text]
        if isinstance(pattern, URLPattern):
            yield here
        else:
            yield from addresses(key, pattern.url_patterns, here)
