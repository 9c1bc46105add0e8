"""Typed settings of the app, with units. The only reader of `django.conf.settings` in it.

The values come from `settings.AGENT`, which `agentsite.settings` fills from the environment.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from django.conf import settings
from django.core.signals import setting_changed


@dataclass(frozen=True, slots=True, kw_only=True)
class Conf:
    """Settings of the agent. The environment variable of each is its name in capitals."""

    # the model
    openrouter_api_key: str
    openrouter_base_url: str
    model: str
    fallback_models: tuple[str, ...]
    agent_name: str
    system_prompt: str  # empty: none is sent
    temperature: float | None  # None: not sent
    max_tokens: int | None  # None: not sent
    reasoning: str  # how much of it people see: show, hide (only its duration) or off
    reasoning_effort: str  # empty: not sent
    max_history: int  # messages sent to the model, without the system prompt
    provider_connect_timeout: float  # seconds
    provider_first_token_timeout: float  # seconds
    provider_token_timeout: float  # seconds
    provider_total_timeout: float  # seconds
    # sessions and turns
    session_timeout: float  # minutes
    retention_days: float
    lease_seconds: float
    drain_seconds: float
    max_queue: int  # waiting queries of a session
    max_concurrent_turns: int  # of this process
    # the edge
    max_query_chars: int  # Unicode code points
    max_frame_bytes: int
    heartbeat_interval: float  # seconds
    max_connections_per_user: int  # of a caller, at once
    max_connections_per_address: int  # at once
    max_connects_per_minute: int  # from an address
    max_requests_per_user: int  # unfinished ones of a caller, in this process
    max_requests_per_address: int  # unfinished ones, in this process
    max_queries_per_minute: int  # of a caller
    max_writes_per_minute: int  # of a caller
    max_anonymous_writes_per_hour: int  # of all anonymous callers of an address
    max_session_messages: int
    max_sign_ins_per_minute: int  # tries from an address
    max_wrong_passwords_per_minute: int  # for a user name
    max_frames_per_second: int  # of a caller
    allow_anonymous: bool
    allowed_origins: tuple[str, ...]
    metrics_token: str  # empty: only loopback may read the metrics
    # facts about the deployment, which the app only reads
    demo: bool  # the offline demo model answers
    trusted_proxies: tuple[str, ...]
    redis_url: str
    generated_key: bool  # SECRET_KEY was generated, and is stored in a file

    @property
    def model_name(self) -> str:
        return "offline-demo" if self.demo else self.model


@cache
def conf() -> Conf:
    """Return the settings of this process."""
    return Conf(**settings.AGENT)


def django_setting(name: str) -> Any:
    """Return a setting outside of AGENT."""
    return getattr(settings, name)


def _forget(*, setting: str, **_: object) -> None:
    if setting == "AGENT":
        conf.cache_clear()


setting_changed.connect(_forget, dispatch_uid="agent.conf")
