"""Work in threads, in order."""

import threading
import time

import pytest

from tf_deep3d.reconstruction.parallel import MOST_AT_ONCE, in_order


def test_results_come_in_the_order_of_the_items_whoever_is_done_first():
    def work(number):
        time.sleep(0.02 if number % 3 == 0 else 0)
        return number * number

    assert list(in_order(work, range(20))) == [n * n for n in range(20)]
    assert list(in_order(work, [])) == []


def test_few_items_are_taken_ahead():
    taken = []

    def items():
        for number in range(100):
            taken.append(number)
            yield number

    results = in_order(lambda number: number, items())
    assert next(results) == 0
    assert len(taken) <= MOST_AT_ONCE + 2
    results.close()
    assert len(taken) <= MOST_AT_ONCE + 2


def test_an_error_comes_in_its_place_and_nothing_new_is_begun():
    begun = []

    def work(number):
        begun.append(number)
        if number == 2:
            raise OSError("gone")
        return number

    results = in_order(work, range(1000))
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(OSError, match="gone"):
        next(results)
    assert len(begun) < 40


def test_several_are_worked_at_at_the_same_time():
    both = threading.Barrier(2, timeout=20)
    assert len(list(in_order(lambda _: both.wait(), range(2)))) == 2
