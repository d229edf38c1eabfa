from __future__ import annotations

from sidecar.stores.ghosts import Ghosts, mark
from tests.stores.entries import make_key


def test_most_of_the_last_are_remembered_and_no_others() -> None:
    ghosts = Ghosts(1000)
    for number in range(5000):
        ghosts.add(make_key(number))
    assert ghosts.has(make_key(4999))
    assert sum(ghosts.has(make_key(number)) for number in range(4500, 5000)) > 350
    assert not any(ghosts.has(make_key(number)) for number in range(5000, 9000))


def test_credentials_and_urls_are_told_apart() -> None:
    keys = [make_key(number, partition) for number in range(50) for partition in (None, 1, 2)]
    assert len({mark(key) for key in keys}) == len(keys)
