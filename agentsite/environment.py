"""Reads variables of the environment and of `.env`, and parses each to its type.

The only reader of the environment. An invalid value stops the start with the variable's name and
the expected form, never with the value, which may be a secret. An empty variable counts as absent.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured

from . import envfile

T = TypeVar("T")

#: Variables that are read elsewhere: by the loader itself, and by docker compose.
_READ_ELSEWHERE = {"ENV_FILE", "POSTGRES_PASSWORD"}
#: The similarity, of 1, from which on a name counts as a misspelling of another one.
_SIMILARITY = 0.8

_locations: dict[str, str] = {}  # variable to the file and line that set it
_read: set[str] = set()


class Unusable(ValueError):
    """A value that cannot work. Its message says why, without the value."""


def load(default: Path) -> None:
    """Read the file that ENV_FILE names, or the default file if it exists.

    Variables of the environment take precedence. An empty ENV_FILE means no file.

    Raises:
        ImproperlyConfigured: the file that ENV_FILE names is missing, or a file cannot be read.
    """
    named = os.environ.get("ENV_FILE")
    if named == "" or (named is None and not os.path.lexists(default)):
        return
    path = default if named is None else Path(named)
    for variable in envfile.read(path):
        if variable.name not in os.environ:
            os.environ[variable.name] = variable.value
            _locations[variable.name] = f"{path}, line {variable.line}"


def misspelt() -> list[tuple[str, str, str]]:
    """Return variables of the file that are not read and resemble one that is.

    Returns:
        for each its location (file and line), its name, and the name that was probably meant.
    """
    known = _read | _READ_ELSEWHERE
    plain = {_plain(name): name for name in sorted(known)}
    found = []
    for name, location in _locations.items():
        if name not in known and (meant := get_close_matches(_plain(name), plain, 1, _SIMILARITY)):
            found.append((location, name, plain[meant[0]]))
    return found


def _plain(name: str) -> str:
    return "".join(char for char in name.upper() if char.isalnum())


def env(name: str, default: T, expected: str, parse: Callable[[str], T]) -> T:
    """Parse the variable `name` with `parse`; return `default` when it is absent or empty.

    Raises:
        ImproperlyConfigured: the value is invalid.
    """
    _read.add(name)
    raw = os.environ.get(name, "").strip()
    if not raw:
        return default
    try:
        return parse(raw)
    except (ValueError, KeyError, ImproperlyConfigured) as error:
        why = f"; {error}" if isinstance(error, Unusable) else ""
    location = f" ({_locations[name]})" if name in _locations else ""
    # outside of the handler: the first error may contain the value
    raise ImproperlyConfigured(f"{name}: expected {expected}{why}{location}")


def unless_empty(name: str, value: T) -> T | None:
    """Return the value of a variable, or None when it is set and empty: then it is not sent."""
    return None if os.environ.get(name, "unset").strip() == "" else value


def choice(name: str, default: str, choices: tuple[str, ...]) -> str:
    known = {word: word for word in choices}
    return env(name, default, " or ".join(choices), lambda raw: known[raw.lower()])


def text(name: str, default: str) -> str:
    return env(name, default, "text", str)


def header(name: str) -> str:
    """Read a secret that is sent in a header, or compared with one."""

    def parse(raw: str) -> str:
        if not (raw.isascii() and raw.isprintable()):
            raise ValueError
        return raw

    return env(name, "", "printable ASCII characters", parse)


def flag(name: str, default: bool) -> bool:
    values = {"1": True, "true": True, "yes": True, "on": True}
    values |= {"0": False, "false": False, "no": False, "off": False}
    return env(name, default, "1 or 0", lambda raw: values[raw.lower()])


def number(name: str, default: float, *, zero: bool = False, most: float = 1e9) -> float:
    def parse(raw: str) -> float:
        value = float(raw)
        if not (math.isfinite(value) and 0 <= value <= most and (value or zero)):
            raise ValueError
        return value

    return env(name, default, f"a number {'from' if zero else 'above'} 0 to {most:g}", parse)


def integer(name: str, default: int, *, least: int = 1, most: int = 2**31 - 1) -> int:
    def parse(raw: str) -> int:
        value = int(raw)
        if not least <= value <= most:
            raise ValueError
        return value

    return env(name, default, f"a whole number from {least} to {most}", parse)


def word_list(name: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
    return env(
        name,
        default,
        "names separated by commas",
        lambda raw: tuple(part.strip() for part in raw.split(",") if part.strip()),
    )


def url(name: str, default: str, schemes: tuple[str, ...]) -> str:
    def parse(raw: str) -> str:
        parts = urlsplit(raw)
        if parts.scheme not in schemes or not parts.hostname:
            raise ValueError
        if any(char.isspace() for char in raw) or parts.port == 0:  # `port` checks its range
            raise ValueError
        return raw

    return env(name, default, f"an address that starts with {' or '.join(schemes)}://", parse)
