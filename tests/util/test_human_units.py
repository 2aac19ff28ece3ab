"""Numbers as people read them."""

import pytest

from util.human_units import human_count, human_duration, human_size

KIB, MIB, GIB = 2**10, 2**20, 2**30


@pytest.mark.parametrize(
    ("num_bytes", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.00 KiB"),
        (512 * MIB, "512 MiB"),
        (1023.9 * MIB, "1.00 GiB"),
        (2.914 * GIB, "2.91 GiB"),
        (79.1 * GIB, "79.1 GiB"),
        (2000 * GIB, "1.95 TiB"),
        (5000 * 1024 * GIB, "5000 TiB"),
    ],
)
def test_sizes_have_three_digits_and_a_binary_unit(num_bytes, text):
    assert human_size(num_bytes) == text


@pytest.mark.parametrize(("gib", "text"), [(70.04, "70 GiB"), (2.84, "2.8 GiB"), (139.4, "139 GiB")])
def test_estimates_can_have_fewer_digits(gib, text):
    assert human_size(gib * GIB, digits=2) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(7, "7"), (999, "999"), (1220, "1.2 k"), (999_960, "1.0 M"), (182_434_000, "182.4 M"), (5e12, "5000.0 G")],
)
def test_counts_have_a_decimal_unit(count, text):
    assert human_count(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (12 * 60 + 20, "12 min"),
        (3599, "1 h 0 min"),
        (19200, "5 h 20 min"),
        (24 * 3600 - 1, "1 d 0 h"),
        (47.6 * 3600, "2 d 0 h"),
        (76 * 3600, "3 d 4 h"),
    ],
)
def test_durations_have_their_two_largest_units(seconds, text):
    assert human_duration(seconds) == text
