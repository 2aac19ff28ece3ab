"""Frames find their depth by name, and never by position."""

import pytest

from data.pairing import find_pairs


@pytest.fixture
def make(tmp_path):
    def make(**folders):
        paths = []
        for folder, names in folders.items():
            (tmp_path / folder).mkdir()
            for name in names:
                (tmp_path / folder / name).touch()
            paths.append(tmp_path / folder)
        return paths

    return make


def names(pairing):
    return [(frame.name, depth.name) for frame, depth in pairing.pairs]


@pytest.mark.parametrize(
    ("frame", "depth"),
    [
        ("T3_L1_1_resized_FrameBuffer_0294.png", "T3_L1_1_resized_Depth_0294.png"),
        ("FrameBuffer_0003.png", "Depth_0003.png"),
        ("0001_color.png", "0001_depth.tiff"),
        ("frame_7.jpg", "frame_7.png"),
        ("frame_7.JPG", "frame_7.npy"),
    ],
)
def test_names_of_the_public_sets_pair(make, frame, depth):
    pairing = find_pairs(*make(A=[frame, "other.png"], B=["other.png", depth]))
    assert set(names(pairing)) == {(frame, depth), ("other.png", "other.png")}
    assert pairing.orphans == []


def test_equal_positions_with_other_names_do_not_pair(make):
    pairing = find_pairs(*make(A=["a.png", "b.png"], B=["c.png", "d.png"]))
    assert pairing.pairs == []
    assert [path.name for path in pairing.frames_alone] == ["a.png", "b.png"]
    assert [path.name for path in pairing.depths_alone] == ["c.png", "d.png"]


def test_a_gap_shifts_nothing_and_is_an_orphan_on_both_sides(make):
    A, B = make(A=["1.png", "2.png", "3.png"], B=["1.png", "3.png", "4.png"])
    pairing = find_pairs(A, B)
    assert names(pairing) == [("1.png", "1.png"), ("3.png", "3.png")]
    assert pairing.orphans == [A / "2.png", B / "4.png"]


def test_in_one_folder_only_the_rules_count(make):
    files = ["0001_color.png", "0001_depth.tiff", "0002_color.png", "0003_depth.tiff", "note.txt", "depth.json"]
    (folder,) = make(both=files)
    pairing = find_pairs(folder, folder)
    assert names(pairing) == [("0001_color.png", "0001_depth.tiff")]
    assert [path.name for path in pairing.frames_alone] == ["0002_color.png"]
    assert [path.name for path in pairing.depths_alone] == ["0003_depth.tiff"]


def test_one_folder_by_two_spellings_is_one_folder(make, tmp_path):
    (folder,) = make(both=["FrameBuffer_1.png", "Depth_1.png"])
    pairing = find_pairs(folder, tmp_path / "both" / ".." / "both")
    assert names(pairing) == [("FrameBuffer_1.png", "Depth_1.png")]
    assert pairing.orphans == []


def test_the_rule_wins_over_the_equal_stem(make):
    A, B = make(A=["x_color.png"], B=["x_color.png", "x_depth.png"])
    pairing = find_pairs(A, B)
    assert names(pairing) == [("x_color.png", "x_depth.png")]
    assert [path.name for path in pairing.depths_alone] == ["x_color.png"]


def test_of_two_depth_files_with_one_stem_npy_is_read(make):
    pairing = find_pairs(*make(A=["a.png"], B=["a.png", "a.npy"]))
    assert names(pairing) == [("a.png", "a.npy")]
    assert pairing.orphans == []


def test_hidden_files_are_not_there(make):
    pairing = find_pairs(*make(A=["a.png", ".b.png"], B=["a.png", "._a.png"]))
    assert names(pairing) == [("a.png", "a.png")]
    assert pairing.orphans == []


@pytest.mark.parametrize(("folder", "count"), [("simcol3d", 6), ("c3vd_trans_t1_a", 4)])
def test_all_frames_of_the_samples_pair(shared_data, folder, count):
    pairing = find_pairs(shared_data / folder, shared_data / folder)
    assert len(pairing.pairs) == count
    assert pairing.orphans == []
