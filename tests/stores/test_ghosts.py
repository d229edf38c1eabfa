from __future__ import annotations

from sidecar.stores.ghosts import Ghosts, mark, place
from tests.stores.entries import make_key

PLACES = 1 << 24


def test_most_of_the_last_are_remembered_and_hardly_any_others() -> None:
    ghosts = Ghosts(1000)
    assert not any(ghosts.has(make_key(number)) for number in range(4000))
    for number in range(5000):
        ghosts.add(make_key(number))
    assert ghosts.has(make_key(4999))
    assert sum(ghosts.has(make_key(number)) for number in range(4500, 5000)) > 350
    assert sum(ghosts.has(make_key(number)) for number in range(5000, 9000)) < 2 * 4000 / 256


def test_credentials_and_urls_are_told_apart() -> None:
    keys = [make_key(number, partition) for number in range(50) for partition in (None, 1, 2)]
    assert len({(place(key, PLACES), mark(key)) for key in keys}) == len(keys)


def test_all_places_are_had() -> None:
    for partition in (None, 1):
        assert {place(make_key(number, partition), 10) for number in range(300)} == set(range(10))
