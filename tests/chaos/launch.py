"""manage.py as the chaos run starts it: it tells its tasks when asked, and may be sabotaged.

    python -m tests.chaos.launch TASKS_FILE CHANGES serve --port ...

On SIGUSR1 it writes what its event loop holds to TASKS_FILE. CHANGES are names, by commas: of a
promise that this process is to break, so that the judge can be seen to notice, or `faulty-layer`.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

#: What `--break` takes, and what is left out then.
SABOTAGES = {
    "fence": "the end of a turn is written whatever its state and attempt, and the schema's"
    " constraint of one end per turn is dropped",
    "fence-alone": "the same, with the schema's constraint in place",
    "catch-up": "nobody looks for messages that were lost between processes",
    "replay": "who comes back is told that nothing was missed",
}


def change(name: str) -> None:
    """Break a promise, or the channel layer, in this process."""
    import django

    django.setup()
    _CHANGES[name]()


def _without_fence() -> None:
    from agent.models import Turn
    from agent.store import turn_queue
    from agent.store.sequence import Change

    def finish(claimed: Any, outcome: Any) -> Any:
        change = Change(claimed.session_id)
        turn_queue.end(change, Turn.objects.get(id=claimed.turn_id), outcome)
        return change, True

    turn_queue.finish = finish


def _without_catching_up() -> None:
    from agent.worker import maintenance

    async def never(self: object) -> None:
        await asyncio.sleep(3600)

    maintenance.CatchUp.look = never  # type: ignore[method-assign]


def _without_replay() -> None:
    from agent.connection import writer

    writer.replay_start = lambda newest, last_seq, tail: newest  # type: ignore[attr-defined]


def _with_faulty_layer() -> None:
    from django.conf import settings

    settings.CHANNEL_LAYERS["default"]["BACKEND"] = "tests.chaos.layer.FaultyLayer"


_CHANGES: dict[str, Callable[[], None]] = {
    "fence": _without_fence,
    "fence-alone": _without_fence,
    "catch-up": _without_catching_up,
    "replay": _without_replay,
    "faulty-layer": _with_faulty_layer,
}


def tell(file: Path) -> None:
    """Write what the running event loop holds."""
    gc.collect()
    names = Counter(task.get_coro().__qualname__ for task in asyncio.all_tasks())  # type: ignore[union-attr]
    from agent.worker import runtime

    topics = runtime.current().live.hub.topics()
    told = {"tasks": sum(names.values()), "names": names, "groups": len(topics)}
    unfinished = file.with_suffix(".part")
    unfinished.write_text(json.dumps(told))
    unfinished.rename(file)


def main() -> None:
    file, changes, *arguments = sys.argv[1:]
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "agentsite.settings")
    signal.signal(signal.SIGUSR1, lambda *_: tell(Path(file)))
    for name in filter(None, changes.split(",")):
        change(name)
    from django.core.management import execute_from_command_line

    execute_from_command_line(["manage.py", *arguments])


if __name__ == "__main__":
    main()
