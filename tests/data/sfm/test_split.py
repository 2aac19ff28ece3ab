from dataclasses import replace

import pytest

from data.sfm.split import split_clips, whole
from tests.data.sfm.tiny_clip import make_clip
from util.errors import UserError


def clips_in(root, *names, num_views=20):
    """Clips with a picture of each view, which are not read here."""
    clip = make_clip(num_views=num_views)
    with_pictures = replace(clip, frames=tuple(root / f"{number}.png" for number in clip.numbers))
    return {name: replace(with_pictures, name=name) for name in names}


def say(root, phase, *lines):
    (root / "splits").mkdir(exist_ok=True)
    (root / "splits" / f"{phase}.txt").write_text("\n".join(lines) + "\n")


def test_a_single_clip_is_cut_into_blocks_with_the_gap_between_them(tmp_path):
    split = split_clips(tmp_path, clips_in(tmp_path, "a"), gap=5)
    assert split["train"][0].views.tolist() == list(range(11))
    assert split["test"][0].views.tolist() == [16, 17, 18, 19]
    assert split["eval"] == []


def test_no_training_view_lies_within_the_gap_of_a_test_view(tmp_path):
    split = split_clips(tmp_path, clips_in(tmp_path, "a", "b"), gap=3)
    for train, test in zip(split["train"], split["test"], strict=True):
        assert test.views.min() - train.views.max() > 3


def test_the_gap_counts_registered_views_without_a_picture_too(tmp_path):
    clip = clips_in(tmp_path, "a")["a"]
    frames = tuple(None if 12 <= view < 16 else frame for view, frame in enumerate(clip.frames))
    split = split_clips(tmp_path, {"a": replace(clip, frames=frames)}, gap=6)
    assert split["test"][0].views.tolist() == [17, 18, 19]
    assert split["train"][0].views.tolist() == list(range(11))


def test_three_clips_are_shared_out_as_wholes(tmp_path):
    split = split_clips(tmp_path, clips_in(tmp_path, "a", "b", "c"), gap=30)
    assert {phase: [block.name for block in blocks] for phase, blocks in split.items()} == {
        "train": ["a"],
        "eval": ["b"],
        "test": ["c"],
    }


def test_a_clip_too_short_for_the_gap_is_an_error_that_says_what_to_do(tmp_path):
    with pytest.raises(
        UserError, match=r"20 registered views.* test block of 4 and a gap of 15 .* leave 1 .*--max_gap"
    ):
        split_clips(tmp_path, clips_in(tmp_path, "a"), gap=15)


def test_files_say_which_clips_and_which_frames_of_them(tmp_path):
    say(tmp_path, "train", "# a comment", "", "a  100-104", "b")
    say(tmp_path, "test", "a 110-200")
    split = split_clips(tmp_path, clips_in(tmp_path, "a", "b"), gap=30)
    assert [(block.name, block.views.tolist()) for block in split["train"]] == [
        ("a_100-104", [0, 1, 2, 3, 4]),
        ("b", list(range(20))),
    ]
    assert split["test"][0].name == "a_110-119"


def test_names_with_spaces_are_names(tmp_path):
    say(tmp_path, "train", "a clip 100-101")
    assert split_clips(tmp_path, clips_in(tmp_path, "a clip"), gap=1)["train"][0].views.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("z", r"train.txt, line 1: 'z' names no clip here \(there are: a\)"),
        ("a 5-9", r"train.txt, line 1: a has no registered frame from 5 to 9 .* it has 100 to 119"),
    ],
)
def test_a_line_that_means_nothing_is_an_error_with_its_number(tmp_path, line, error):
    say(tmp_path, "train", line)
    with pytest.raises(UserError, match=error):
        split_clips(tmp_path, clips_in(tmp_path, "a"), gap=1)


def test_a_frame_in_two_splits_is_an_error(tmp_path):
    say(tmp_path, "train", "a 100-110")
    say(tmp_path, "test", "a 110-119")
    with pytest.raises(UserError, match=r"frame 110 of a is in train.txt and in test.txt: results would leak"):
        split_clips(tmp_path, clips_in(tmp_path, "a"), gap=1)


def test_a_whole_clip_has_the_views_with_a_picture(tmp_path):
    clip = clips_in(tmp_path, "a")["a"]
    frames = (None, *clip.frames[1:])
    assert whole(replace(clip, frames=frames)).views.tolist() == list(range(1, 20))
