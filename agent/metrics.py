"""Defines all metrics of a process, for Prometheus. No label names a session or a person.

Other modules update a metric in one line. A process counts only its own work: scrape every process,
and add up.
"""

from __future__ import annotations

import platform
from typing import Any

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from . import __version__

CONTENT_TYPE = CONTENT_TYPE_LATEST

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each counter, of no use here
registry = CollectorRegistry()
ProcessCollector(registry=registry)
GCCollector(registry=registry)
Info("agent_build", "What runs", registry=registry).info(
    {"version": __version__, "python": platform.python_version()}
)

_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


def _counter(name: str, description: str, *labels: str) -> Counter:
    return Counter(f"agent_{name}", description, labels, registry=registry)


def _gauge(name: str, description: str, *labels: str) -> Gauge:
    return Gauge(f"agent_{name}", description, labels, registry=registry)


# connections

connections = _gauge("connections", "Open WebSockets")
sessions = _gauge("sessions", "Sessions with a connection or a running turn here")
connects = _counter("connects", "WebSockets that were welcomed", "resumed")
closes = _counter("closes", "WebSockets that the server closed, by close code", "code")
frames_in = _counter("frames_received", "Valid frames of clients", "type")
refusals = _counter("errors_sent", "Errors about a frame or connection of a client", "code")
deltas = _counter("deltas_sent", "Delta and reasoning frames, to all connections")

overloads = _counter("overloads", "Requests that found no free place in time")

# turns

durable = _counter("frames_stored", "Durable frames that this process committed", "type")
ended = _counter("turns_ended", "Turns by how they ended; code of those with an error", "outcome")
running = _gauge("turns_running", "Turns that run in this process")
places = _gauge("turn_places", "Turns that may run in this process (MAX_CONCURRENT_TURNS)")
unfinished = _gauge("turns_unfinished", "Turns in the database, the same in each process", "state")
first_token = Histogram(
    "agent_first_token_seconds",
    "From the question to the model until its first token",
    buckets=_SECONDS,
    registry=registry,
)
duration = Histogram(
    "agent_turn_seconds", "From the start of a run to its end", buckets=_SECONDS, registry=registry
)
takeovers = _counter("turns_restarted", "Turns taken over from a process that left them behind")
provider_retries = _counter("provider_retries", "Requests to the provider that were repeated")

# notifications, and what fails

notified = _counter("notifications", "Notifications from outside", "state")
heals = _counter("catch_ups", "Sessions with messages that nobody had told this process of")
layer_failures = _counter("channel_layer_failures", "Calls of the channel layer that failed")
database_failures = _counter("database_failures", "Database work that could not be done")
degraded = _gauge("degraded", "1 while this process cannot reach the part", "part")


def committed(frames: list[dict[str, Any]]) -> None:
    """Count the durable frames of a commit, and the turns that they end."""
    for frame in frames:
        durable.labels(frame["type"]).inc()
        if frame["type"] == "response":
            ended.labels(frame["finish_reason"]).inc()
        elif frame["type"] == "error":
            ended.labels(frame["code"]).inc()


def page() -> bytes:
    """Return all metrics in Prometheus's format."""
    return generate_latest(registry)
