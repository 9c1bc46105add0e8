"""System checks: what is wrong with a set-up, said before it hurts.

`deployment` runs with `check --deploy`, and `manage.py serve` runs it when DEBUG is off.
"""

from __future__ import annotations

from typing import Any

from django.core.checks import CheckMessage, Error, Warning
from django.db import connection

from .conf import conf, django_setting


def everywhere(**_: Any) -> list[CheckMessage]:
    """What is wrong on every machine."""
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
    return found


def deployment(**_: Any) -> list[CheckMessage]:
    """What is wrong on a server that others reach."""
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
