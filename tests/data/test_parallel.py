"""Work by a few threads: in order, errors in their turn, nothing left running."""

import threading
import time

import pytest

from data.parallel import mapped


def test_results_come_in_order() -> None:
    def slow_first(i: int) -> int:
        time.sleep(0.02 if i == 0 else 0)
        return i * i

    assert list(mapped(slow_first, range(20))) == [i * i for i in range(20)]
    assert list(mapped(slow_first, [])) == []


def test_errors_are_raised_in_their_turn_and_the_rest_is_dropped() -> None:
    done: list[int] = []

    def work(i: int) -> int:
        if i == 3:
            raise ValueError("three")
        done.append(i)
        return i

    results = mapped(work, range(1000))
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(results)
    assert len(done) < 20


def test_closing_it_early_stops_it() -> None:
    before = threading.active_count()
    results = mapped(lambda i: i, range(1000))
    next(results)
    results.close()
    assert threading.active_count() == before
