"""`.ci/tests`: how a run ends in which a test fails, and passes alone or does not."""

import datetime
import os
import subprocess
import sys

import pytest

from tests.support import ROOT

FLAKY = """\
from pathlib import Path

def test_that_passes_the_second_time():
    ran = Path(__file__).with_name("ran")
    if not ran.exists():
        ran.touch()
        raise AssertionError("the first time")
"""


FAILING = "def test_it(): raise AssertionError('the first time')"
LISTED = "2026-01-31 test_it.py::test_that_passes_the_second_time Redis may answer late\n"


def run(directory, text, flakes="", strict="1"):
    (directory / "test_it.py").write_text(text)
    (directory / "pytest.ini").touch()
    (directory / "tests").mkdir()
    (directory / "tests" / "known_flakes.txt").write_text(f"# none\n{flakes}")
    few = ["-p", "xdist", "--numprocesses", "0"]  # to start it quickly
    return subprocess.run(
        [ROOT / ".ci" / "tests", sys.executable, *few],
        cwd=directory,
        env={
            "PATH": os.environ["PATH"],
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "STRICT": strict,
        },
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    ("text", "flakes", "strict", "status", "alone", "verdict"),
    [
        (FLAKY, "", "1", 1, "1 passed", "test_that_passes_the_second_time"),
        (FLAKY, "", "", 0, "1 passed", "test_that_passes_the_second_time"),
        (FLAKY, LISTED, "1", 0, "1 passed", "Only known flakes failed"),
        (FAILING, LISTED, "", 1, "1 failed", "1 failed"),
    ],
)
def test_a_run_with_a_failure_is_red_unless_it_is_a_known_flake(
    tmp_path, text, flakes, strict, status, alone, verdict
):
    done = run(tmp_path, text, flakes, strict)
    assert done.returncode == status, done.stdout
    *_, again, last = done.stdout.split("\n== ")
    assert alone in again
    assert "the first time" in last and "FAILED" in last and "1 failed" in last
    assert verdict in last.splitlines()[-1]


@pytest.mark.parametrize(("text", "status"), [("def test_it(): pass", 0), ("import no", 2)])
def test_other_ends_are_those_of_pytest(tmp_path, text, status):
    assert run(tmp_path, text).returncode == status


def test_each_known_flake_has_a_date_an_existing_test_and_a_reason():
    for line in (ROOT / "tests" / "known_flakes.txt").read_text().splitlines():
        if not line.startswith("#"):
            date, test, reason = line.split(maxsplit=2)
            file, name = test.split("::", 1)
            assert datetime.date.fromisoformat(date) and reason
            assert f"def {name.split('::')[-1]}(" in (ROOT / file).read_text()
