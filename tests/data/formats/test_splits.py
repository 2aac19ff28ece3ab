"""Whole sequences in one split each, as files say or by share."""

import pytest

from data.formats.splits import read_split, split_by_share
from util.errors import UserError

NAMES = ["a", "b", "c"]


def write(root, **phases):
    (root / "splits").mkdir()
    for phase, text in phases.items():
        (root / "splits" / f"{phase}.txt").write_text(text)


def test_without_files_nothing_is_said(tmp_path):
    assert read_split(tmp_path, NAMES) == {}


def test_a_line_is_a_sequence_and_what_is_not_named_is_in_no_split(tmp_path):
    write(tmp_path, train="# mine\n\na\n", test="  c \n")
    assert read_split(tmp_path, NAMES) == {"train": ["a"], "eval": [], "test": ["c"]}


def test_sequence_in_two_splits_would_leak(tmp_path):
    write(tmp_path, train="a\nb\n", test="b\n")
    with pytest.raises(UserError, match=r"sequence b is in .*train\.txt and in .*test\.txt"):
        read_split(tmp_path, NAMES)


def test_name_of_no_sequence_is_an_error_that_lists_those_there_are(tmp_path):
    write(tmp_path, eval="d\n")
    with pytest.raises(UserError, match=r"eval\.txt names 'd', which is no sequence here; there are a, b, c$"):
        read_split(tmp_path, NAMES)


def test_the_last_fifth_is_for_testing_and_a_tenth_before_it_for_evaluation():
    names = [f"{number:02d}" for number in range(20)]
    split = split_by_share(names)
    assert [len(split[phase]) for phase in ("train", "eval", "test")] == [14, 2, 4]
    assert split["train"] + split["eval"] + split["test"] == names
    assert [len(split_by_share(NAMES)[phase]) for phase in ("train", "eval", "test")] == [1, 1, 1]
    assert split_by_share(["a", "b"]) == {"train": ["a", "b"]}


def test_what_belongs_together_stays_together():
    names = [f"{texture}_{path}" for texture in "xyz" for path in range(5)]
    split = split_by_share(names, group=lambda name: name[-1])
    paths = {phase: {name[-1] for name in members} for phase, members in split.items()}
    assert paths == {"train": {"0", "1", "2"}, "eval": {"3"}, "test": {"4"}}
    assert sum(map(len, split.values())) == 15
