"""Frames per second: exact in a process, added up over processes, never against the innocent."""

import random

import pytest

from agent.access.frame_rate import SHARE_SECONDS, WINDOW_SECONDS, Frames


def hits(frames, number, now, caller="user:1"):
    return [frames.hit(caller, now) for _ in range(number)]


def test_a_second_holds_the_limit_and_the_rest_is_told_how_long_to_wait():
    frames = Frames(50, 10)
    assert hits(frames, 50, 7.25) == [0.0] * 50
    assert hits(frames, 3, 7.5) == [0.75] * 3
    assert hits(frames, 1, 8.25) == [0.0]


def test_callers_do_not_use_up_each_others_frames():
    frames = Frames(5, 10)
    hits(frames, 9, 0.0, "user:1")
    assert hits(frames, 5, 0.0, "user:2") == [0.0] * 5


def test_who_keeps_to_the_limit_in_every_second_is_never_refused():
    dice = random.Random(5)
    frames, sent, now = Frames(10, 10), [], 0.0
    for _ in range(20_000):
        now += dice.choice([0.0, 0.001, 0.05, 0.3, 1.0])
        if len([at for at in sent[-10:] if at > now - 1]) < 10:
            sent.append(now)
            assert frames.hit("user:1", now) == 0.0


def test_only_busy_callers_are_told_to_other_processes():
    frames = Frames(50, 10)
    hits(frames, 5, 0.0, "user:quiet")
    hits(frames, 6, 0.0, "user:busy")
    assert frames.to_share(0.5) == [("user:busy", 6)]
    assert frames.to_share(0.6) == []


def test_a_sum_above_the_limit_is_refused_for_a_while():
    frames = Frames(50, 10)
    frames.note_total("user:1", 50 * (WINDOW_SECONDS + SHARE_SECONDS), now=10.0)
    assert hits(frames, 1, 10.0) == [0.0], "what one process alone may take"
    frames.note_total("user:1", 50 * WINDOW_SECONDS * 2, now=10.0)
    (wait,) = hits(frames, 1, 10.5)
    assert wait == pytest.approx(2 * SHARE_SECONDS - 0.5)
    assert hits(frames, 1, 10.5 + wait) == [0.0]


def test_quiet_callers_are_forgotten():
    frames = Frames(50, 10)
    for number in range(1000):
        frames.hit(f"user:{number}", 0.0)
    frames.to_share(0.5)
    assert len(frames._counts) == 1000
    frames.to_share(1.0)
    assert not frames._counts
