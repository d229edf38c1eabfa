from __future__ import annotations

from sidecar.stores.rest import LONGEST_S, Rest


def fail(rest: Rest, times: int, now_s: float) -> list[bool]:
    return [rest.fail(now_s) for _ in range(times)]


def test_three_failures_in_a_row_begin_a_rest() -> None:
    rest = Rest()
    assert fail(rest, 2, 10.0) == [False, False]
    assert not rest.succeed()
    assert fail(rest, 3, 10.0) == [False, False, True]
    assert [rest.admits(now_s) for now_s in (10.0, 10.9, 11.0)] == [False, False, True]


def test_after_a_rest_one_asks() -> None:
    rest = Rest()
    fail(rest, 3, 10.0)
    rest.begin(11.0)
    assert not rest.admits(11.5)
    assert rest.succeed()
    assert rest.admits(11.5)
    rest.begin(11.5)
    assert rest.admits(11.5)


def test_each_failure_doubles_the_rest_up_to_a_limit() -> None:
    rest, now_s, lengths = Rest(), 0.0, []
    fail(rest, 3, now_s)
    for _ in range(7):
        start_s = now_s
        while not rest.admits(now_s):
            now_s += 0.5
        lengths.append(now_s - start_s)
        rest.begin(now_s)
        assert not rest.fail(now_s)
    assert lengths == [1, 2, 4, 8, 16, LONGEST_S, LONGEST_S]
    rest.succeed()
    fail(rest, 3, now_s)
    assert rest.admits(now_s + 1)
