"""The acts: whole, in order, and on a clock that may run faster."""

from __future__ import annotations

from itertools import pairwise

import pytest

from sidecar.demo import script
from sidecar.demo.script import ACTS, LASTS_S, Health, Tempo, act_at, spans


def test_the_acts_follow_each_other_without_a_gap() -> None:
    found = list(spans())
    assert found[0][1] == 0.0
    assert all(before[2] == after[1] for before, after in pairwise(found))
    assert found[-1][2] == LASTS_S


def test_the_day_is_bad_in_every_way_and_over_within_a_minute() -> None:
    assert [act.health for act in ACTS] == [Health.WELL, Health.SLOW, Health.FAILING, Health.DARK, Health.WELL]
    assert LASTS_S < 50


def test_an_act_begins_when_the_last_one_ends() -> None:
    assert act_at(0.0) is ACTS[0]
    assert act_at(ACTS[0].lasts_s) is ACTS[1]
    assert act_at(LASTS_S + 1) is ACTS[-1]


def test_the_story_runs_faster_than_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter((100.0, 102.0))
    monkeypatch.setattr(script.time, "monotonic", lambda: next(clock))
    tempo = Tempo(5.0)
    assert tempo.now_s == 0.0
    tempo.start()
    assert tempo.now_s == 10.0
    assert tempo.real_s(10.0) == 2.0
