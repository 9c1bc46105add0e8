"""Agent WebSocket: a live conversation with an LLM agent."""

__version__ = "0.2.0"
