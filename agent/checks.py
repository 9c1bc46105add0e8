"""System checks: report faults of a set-up before they cause failures.

`deployment` runs with `check --deploy`, and `manage.py serve` runs it when DEBUG is off.
"""

from __future__ import annotations

from typing import Any

from django.core.checks import CheckMessage, Error, Info, Warning
from django.db import connection

from .conf import conf, django_setting

#: A random key has many more distinct characters; a word may have as many as this.
_DISTINCT_CHARS = 5


def everywhere(**_: Any) -> list[CheckMessage]:
    """Return the faults that matter on every machine."""
    settings = conf()
    found: list[CheckMessage] = []
    if settings.provider_first_token_timeout > settings.provider_total_timeout:
        found.append(
            Warning(
                "PROVIDER_FIRST_TOKEN_TIMEOUT is longer than PROVIDER_TOTAL_TIMEOUT.",
                hint="The total ends every answer; make it the longest.",
                id="agent.W001",
            )
        )
    found += [
        Warning(
            f"{location}: {name} is not a variable of ours, and has no effect.",
            hint=f"Did you mean {meant}?",
            id="agent.W005",
        )
        for location, name, meant in django_setting("MISSPELT_VARIABLES")
    ]
    return found


def deployment(**_: Any) -> list[CheckMessage]:
    """Return the faults that matter on a public server."""
    settings = conf()
    found: list[CheckMessage] = []
    if "*" in django_setting("ALLOWED_HOSTS"):
        found.append(
            Error(
                "ALLOWED_HOSTS contains *, so every page on the web may use its visitors' cookies.",
                hint="Name the hosts of this site.",
                id="agent.E001",
            )
        )
    if any("*" in origin for origin in settings.allowed_origins):
        found.append(
            Error(
                "ALLOWED_ORIGINS contains *, which matches nothing: each origin is named in full.",
                hint="Name the origins of the pages that may connect.",
                id="agent.E003",
            )
        )
    if settings.generated_key:
        found.append(
            Error(
                "SECRET_KEY was generated and is kept in a file.",
                hint="Set SECRET_KEY, the same for every process.",
                id="agent.E002",
            )
        )
    if _is_weak(django_setting("SECRET_KEY")):
        found.append(
            Error(
                "SECRET_KEY can be guessed: it is an example, or repeats few characters.",
                hint="Set it to the output of: openssl rand -hex 32",
                id="agent.E004",
            )
        )
    if settings.demo and not django_setting("DEBUG"):
        found.append(
            Warning(
                "The offline demo model answers.",
                hint="Set OPENROUTER_API_KEY, or OPENROUTER_BASE_URL of another server.",
                id="agent.W002",
            )
        )
    if not settings.redis_url and connection.vendor == "postgresql":
        found.append(
            Warning(
                "Several processes may share this database, but REDIS_URL is not set: answers"
                " reach connections of other processes late, and without deltas.",
                hint="Set REDIS_URL, or silence agent.W003 when there is only one process.",
                id="agent.W003",
            )
        )
    if settings.lease_seconds < 5:
        found.append(
            Warning(
                "LEASE_SECONDS is below 5: a short stall makes turns run twice.",
                hint="Keep the default of 15.",
                id="agent.W004",
            )
        )
    return found


def cookies(**_: Any) -> list[CheckMessage]:
    """Return one message about HTTPS_ONLY=0, in place of four warnings of Django."""
    if django_setting("SECURE_COOKIES") or django_setting("HTTPS_ONLY"):
        return []
    return [
        Info(
            "Cookies are sent over plain HTTP.",
            hint="Where a proxy has a certificate, set SECURE_COOKIES=1.",
            id="agent.I001",
        )
    ]


def _is_weak(key: str) -> bool:
    return len(set(key)) < _DISTINCT_CHARS or key.startswith("django-insecure-")
