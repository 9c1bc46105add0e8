"""Everything that a client can ask of a session, for tests that try it all."""

from __future__ import annotations

from typing import Any

from agent.protocol import client_frames

Frame = dict[str, Any]


def operations(turn: str, ref: str = "tried") -> dict[str, Frame]:
    """A frame for each operation, by its name; `turn` is one that has ended."""
    arguments: dict[str, Frame] = {
        "help": {},
        "cancel": {"all": True},
        "history": {},
        "resume": {"last_seq": 0},
        "clear": {},
        "retry": {"turn": turn},
        "rename": {"title": "tried"},
        "close": {},
    }
    assert arguments.keys() == client_frames.COMMANDS.keys()
    return {
        "query": {"type": "query", "content": "say: tried", "id": ref},
        "human_feedback": {"type": "human_feedback", "rating": "down", "id": ref},
        **{name: command(name, ref, **args) for name, args in arguments.items()},
    }


def aimed(turn: str, query: str, response: str, query_ref: str) -> dict[str, Frame]:
    """A frame for each way to name something by its id, that of another session for example."""
    return {
        "cancel a turn": command("cancel", "tried", turn=turn),
        "cancel a ref": command("cancel", "tried", ref=query_ref),
        "retry": command("retry", "tried", turn=turn),
        "feedback": {
            "type": "human_feedback",
            "rating": "up",
            "target": response,
            "id": "tried",
        },
        "feedback on a query": {
            "type": "human_feedback",
            "rating": "up",
            "target": query,
            "id": "tried",
        },
        "edit": {"type": "query", "content": "say: tried", "replaces": query, "id": "tried"},
    }


def command(name: str, key: str, /, **args: Any) -> Frame:
    return {"type": "command", "content": name, "args": args, "id": key}
