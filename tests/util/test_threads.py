"""Results in order, few at once, errors where they belong."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from util.threads import in_parallel, map_ahead


def test_results_come_in_the_order_of_the_inputs():
    wait = threading.Event()

    def work(number):
        if number == 0:
            wait.wait(5)
        else:
            wait.set()
        return number**2

    with ThreadPoolExecutor(2) as pool:
        assert list(map_ahead(pool, work, range(6), 2)) == [0, 1, 4, 9, 16, 25]


def test_inputs_are_taken_as_they_are_needed():
    taken = []

    def inputs():
        for number in range(100):
            taken.append(number)
            yield number

    with ThreadPoolExecutor(2) as pool:
        results = map_ahead(pool, str, inputs(), 3)
        assert next(results) == "0"
        assert len(taken) == 4
        assert list(results)[-1] == "99"


def test_one_line_feeds_another_with_the_same_threads():
    with ThreadPoolExecutor(1) as pool:
        first = map_ahead(pool, lambda x: x + 1, range(20), 2)
        assert list(map_ahead(pool, lambda x: 2 * x, first, 2)) == [2 * (x + 1) for x in range(20)]


def test_an_error_comes_in_the_place_of_its_result(capsys):
    results = iter(in_parallel(lambda x: 1 / x, [1, 2, 0, 4], "dividing", "numbers"))
    assert [next(results), next(results)] == [1, 0.5]
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert "dividing" in capsys.readouterr().err
