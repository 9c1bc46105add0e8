"""What clients chose is in no log line at length, and cannot look like a line of its own."""

import io
import json
import logging
import re
import sys

import pytest
import structlog
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agentsite import logs
from agentsite.redaction import MASK, Redaction

LONG = "w" * 60_000
#: A traceback has the most.
MOST = (logs.FIRST_LINES + logs.LAST_LINES + 2) * (logs.MOST_CHARS + 100)
_BEGINNING = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z \[\w+ *\] ")


def rendered(record):
    """A record as the log of this process has it."""
    formatters = [handler.formatter for handler in logging.getLogger().handlers]
    formatter = next(f for f in formatters if isinstance(f, structlog.stdlib.ProcessorFormatter))
    return formatter.format(logging.makeLogRecord(record.__dict__))


def record(message, *args, name="some.library", exc_info=None, **extra):
    made = logging.getLogger(name).makeRecord(
        name, logging.WARNING, "file", 1, message, args, exc_info, extra=extra
    )
    return rendered(made)


@pytest.mark.parametrize("form", [logging.WARNING, logging.ERROR])
def test_an_error_of_the_clients_has_no_traceback_and_one_of_ours_has(form):
    try:
        raise ValueError("secretive")
    except ValueError:
        info = sys.exc_info()
    theirs = record("Bad Request", exc_info=info, status_code=400)
    assert "Traceback" not in theirs and "secretive" not in theirs and "error=ValueError" in theirs
    ours = record("Internal Server Error: %s", "/path", exc_info=info, status_code=500)
    assert "Traceback" in ours and "/path" not in ours


def test_half_a_secret_is_in_no_line():
    secret = "Zk3canaryQ9" * 3
    bounds = logs.Bounds(Redaction([secret]))
    event = {"event": "x" * (logs.MOST_CHARS - 5) + secret, "values": ["y" * 490, secret]}
    cut = bounds(None, "", event)
    assert "Zk3c" not in f"{cut['event']}{cut['values']}" and MASK[:2] in cut["event"]


def test_a_line_that_cannot_be_rendered_is_named_without_its_values():
    handler = next(one for one in logging.getLogger().handlers if isinstance(one, logs.Stderr))
    broken = logging.makeLogRecord(
        {"msg": "%d secretive", "args": ("secretive",), "filename": "f.py", "lineno": 7}
    )
    stream = handler.setStream(io.StringIO())
    try:
        handler.handle(broken)
        assert handler.stream.getvalue() == (
            "a log line of f.py:7 could not be written: TypeError\n"
        )
    finally:
        handler.setStream(stream)


def test_what_is_short_and_plain_stays_as_it_is():
    event = {
        "event": "turn failed",
        "n": 1,
        "none": None,
        "yes": True,
        "list": ["a"],
        "é": "Ünï 👍",
    }
    assert logs.Bounds(Redaction(()))(None, "", dict(event)) == event


TEXTS = st.text(alphabet=st.characters(exclude_categories=()), max_size=200)


@settings(max_examples=200, deadline=None, database=None)
@given(TEXTS, TEXTS, TEXTS)
@example("\n2026-01-01T00:00:00Z [info] forged", "\r\x1b[2J\x85\u2028", "a\n" * 5000)
@example(LONG, LONG, LONG)
@example("%s %d", "%n", "\ud800")
def test_a_line_is_one_line_whatever_is_in_it(message, argument, of_exception):
    try:
        raise ValueError(of_exception)
    except ValueError:
        text = record("%s", message, exc_info=sys.exc_info()) + record(argument)
    first, *others = text.split("\n")
    assert _BEGINNING.match(first)
    assert all(line.startswith("    ") for line in others)
    assert first.isprintable() or not re.search("[\x00-\x1f\x7f-\x9f\u2028\u2029]", first)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029]", text)
    assert len(text) <= MOST


def test_the_event_of_json_is_bounded_too():
    event = {"event": "GET %s", "path": LONG, "exception": "\n".join([LONG] * 500)}
    assert len(json.dumps(logs.Bounds(Redaction(()))(None, "", event))) <= MOST
