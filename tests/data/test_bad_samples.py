"""A sample that cannot be read, and the next one in its place."""

import errno

import pytest

from data import bad_samples
from data.bad_samples import read_or_next
from tests.data.noisy_dataset import NoisyDataset
from util.errors import UserError


def read(dataset, index):
    return read_or_next(lambda i: float(dataset[i]["image"][0, 0, 0]), dataset, index)


def test_a_good_sample_is_read_and_nothing_is_skipped():
    assert read(NoisyDataset(5), 3) == (3, 3.0, {})


def test_behind_the_last_sample_comes_the_first():
    dataset = NoisyDataset(
        5, faults={3: UserError("frames/3.png is empty"), 4: OSError(5, "I/O error", "shared/2.png")}
    )
    assert read(dataset, 3) == (0, 0.0, {"frames/3.png": "is empty", "shared/2.png": "I/O error"})


def test_a_fault_that_names_no_file_is_the_first_ones():
    assert read(NoisyDataset(5, faults={1: UserError("odd")}), 1)[2] == {"frames/1.png": "odd"}
    assert read(NoisyDataset(5, faults={1: OSError("odd")}), 1)[2] == {"frames/1.png": "odd"}


def test_a_set_without_a_good_sample_is_an_error_that_names_the_first():
    dataset = NoisyDataset(4, faults={index: UserError(f"frames/{index}.png is empty") for index in range(4)})
    with pytest.raises(
        UserError, match=r"4 samples in a row .* cannot be read, the first being frames/2\.png: is empty"
    ):
        read(dataset, 2)


def test_a_large_set_is_not_read_to_its_end_to_learn_that_it_is_broken(monkeypatch):
    monkeypatch.setattr(bad_samples, "MAX_IN_A_ROW", 3)
    dataset = NoisyDataset(9, faults={index: UserError("odd") for index in range(1, 5)})
    assert read(dataset, 3)[0] == 5
    with pytest.raises(UserError, match="3 samples in a row"):
        read(dataset, 1)


@pytest.mark.parametrize("fault", [OSError(errno.EMFILE, "Too many open files", "a"), ZeroDivisionError("oops")])
def test_a_fault_that_is_not_the_files_is_raised(fault):
    with pytest.raises(type(fault)) as caught:
        read(NoisyDataset(5, faults={1: fault}), 1)
    assert caught.value is fault
