from sidecar.policy.order import ORDER, Runs


def test_each_step_stands_once_and_has_a_reason() -> None:
    steps = [row.step for row in ORDER]
    assert steps[:6] == ["trace", "fallback", "rewrite", "deadline", "cache", "retry"]
    assert steps[6:] == ["breaker", "limit", "measure", "classify", "transport"]
    assert all(row.reason for row in ORDER)


def test_what_runs_for_an_attempt_is_inside_what_runs_for_a_call() -> None:
    runs = [row.runs for row in ORDER]
    assert runs == sorted(runs, key=list(Runs).index)
    assert runs[[row.step for row in ORDER].index("retry")] is Runs.CALL
