"""Means over images, and the two references beside the method."""

from threading import Barrier, Thread

import numpy as np
import pytest

from data.formats import FolderFormat
from data.pairs_dataset import PairsDataset
from data.transforms import Preprocessing
from evaluation.scores import References, ScoreBoard, batches, find_split, score_pairs
from tests.tiny_run import MM_PER_UNIT8, write_png
from util.errors import UserError


def write_grey_pairs(root, grey, depth):
    """One pair for each value: a plain frame of grey and a plain depth map, both 8 bits."""
    for number, (of_frame, of_depth) in enumerate(zip(grey, depth, strict=True)):
        write_png(root / "test_A" / f"{number}.png", np.full((5, 7, 3), of_frame, np.uint8))
        write_png(root / "test_B" / f"{number}.png", np.full((5, 7), of_depth, np.uint8))
    return PairsDataset(FolderFormat(root), "test", Preprocessing("none"))


def test_each_image_counts_alike_whatever_its_number_of_valid_pixels():
    board, gt = ScoreBoard(), np.full((4, 6), 100.0)
    assert board.add("first", {"ours": gt * 1.1}, gt)
    few = np.zeros((4, 6))
    few[0, 0] = 100.0
    assert board.add("second", {"ours": gt * 1.5}, few)
    assert board.means()["ours"]["none"]["abs_rel"] == pytest.approx((0.1 + 0.5) / 2)
    assert board.means()["ours"]["median"]["abs_rel"] == pytest.approx(0.0, abs=1e-12)
    spread = board.spread("ours", "none")["abs_rel"]
    assert (spread["min_name"], spread["max_name"]) == ("first", "second")
    assert spread["std"] == pytest.approx(0.2)
    assert board.of_image(-1)["abs_rel"] == pytest.approx(0.5)


def test_image_without_a_valid_pixel_is_named_and_not_scored():
    board = ScoreBoard()
    assert not board.add("black", {"ours": np.ones((2, 3))}, np.zeros((2, 3)))
    assert (board.names, board.unscored, board.means()) == ([], ["black"], {})


def test_only_the_alignments_that_mean_something_are_scored():
    board = ScoreBoard(("scale_shift",))
    gt = np.arange(1.0, 13.0).reshape(3, 4)
    board.add("a", {"ours": 5 * gt + 3}, gt)
    assert list(board.means()["ours"]) == ["scale_shift"]
    assert board.of_image(0)["abs_rel"] == pytest.approx(0.0, abs=1e-9)


def test_scores_of_pairs_are_those_of_the_prediction_in_mm(brightness_predictor, tmp_path):
    dataset = write_grey_pairs(tmp_path, grey=[100, 120], depth=[100, 100])  # right, and a fifth too far
    means = score_pairs(brightness_predictor, dataset, References(80.0, 40.0), "scores").means()
    assert list(means) == ["ours", "constant", "brightness"]
    assert means["ours"]["none"]["abs_rel"] == pytest.approx(0.1, rel=1e-5)
    assert means["ours"]["none"]["rmse"] == pytest.approx(20 * MM_PER_UNIT8 / 2, rel=1e-5)
    true_mm = 100 * MM_PER_UNIT8
    assert means["constant"]["none"]["abs_rel"] == pytest.approx((80 - true_mm) / true_mm, rel=1e-5)


def test_split_without_any_valid_depth_is_an_error_that_names_it(brightness_predictor, tmp_path):
    dataset = write_grey_pairs(tmp_path, grey=[100], depth=[0])
    with pytest.raises(UserError, match=r"no depth map of .*test_B has a valid pixel"):
        score_pairs(brightness_predictor, dataset, None, "scores")


def score_with_several(world, score):
    """What ``score(rank, gather)`` returns or raises in each of ``world`` processes, here threads that gather."""
    shared, meeting, ends = [None] * world, Barrier(world, timeout=20), [None] * world

    def run(rank):
        def gather(mine):
            shared[rank] = mine
            meeting.wait()
            return list(shared)

        try:
            ends[rank] = score(rank, gather)
        except UserError as error:
            ends[rank] = error

    threads = [Thread(target=run, args=(rank,)) for rank in range(world)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return ends


@pytest.mark.parametrize(("world", "count"), [(2, 4), (2, 5), (3, 10), (3, 2)])
def test_several_processes_end_with_the_board_of_a_single_one(brightness_predictor, tmp_path, world, count):
    """Also when the images cannot be shared equally, or are fewer than the processes; one of them has no truth."""
    depth = [0 if number == 1 else 100 + number for number in range(count)]
    dataset = write_grey_pairs(tmp_path, [100 + 9 * number for number in range(count)], depth)
    references = References(80.0, 40.0)
    single = score_pairs(brightness_predictor, dataset, references, "scores")
    assert single.names == [str(number) for number in range(count) if number != 1]
    boards = score_with_several(
        world,
        lambda rank, gather: score_pairs(brightness_predictor, dataset, references, "scores", rank, world, gather),
    )
    assert boards == [single] * world
    assert boards[-1].means() == single.means()


def test_each_process_reads_its_own_images_only(brightness_predictor, tmp_path, monkeypatch):
    dataset = write_grey_pairs(tmp_path, grey=[100] * 5, depth=[100] * 5)
    read, raw = [], dataset.raw
    monkeypatch.setattr(dataset, "raw", lambda index: read.append(index) or raw(index))
    share = [("0", None)] * 3
    with pytest.raises(UserError, match="nothing can be scored"):
        score_pairs(
            brightness_predictor, dataset, None, "scores", 1, 2, lambda mine: [share, [("0", None)] * len(mine)]
        )
    assert read == [1, 3]


def test_a_broken_file_ends_every_process_and_leaves_none_waiting(brightness_predictor, tmp_path):
    dataset = write_grey_pairs(tmp_path, grey=[100] * 4, depth=[100] * 4)
    broken = tmp_path / "test_A" / "3.png"
    broken.write_bytes(broken.read_bytes()[:-40])
    ends = score_with_several(
        2, lambda rank, gather: score_pairs(brightness_predictor, dataset, None, "scores", rank, 2, gather)
    )
    assert [str(end).startswith(f"{broken} is truncated") for end in ends] == [True, True]


def test_several_processes_that_cannot_gather_are_an_error(brightness_predictor, tmp_path):
    dataset = write_grey_pairs(tmp_path, grey=[100, 120], depth=[100, 100])
    with pytest.raises(ValueError, match="2 processes must be gathered"):
        score_pairs(brightness_predictor, dataset, None, "scores", rank=0, world=2)


def test_only_the_first_process_shows_a_bar(brightness_predictor, tmp_path, capsys):
    dataset = write_grey_pairs(tmp_path, grey=[100, 120], depth=[100, 100])
    rows = []
    for rank in range(2):
        score_pairs(
            brightness_predictor, dataset, None, "scores", rank, 2, lambda mine: rows.append(mine) or [mine] * 2
        )
        assert ("scores: " in capsys.readouterr().err) == (rank == 0)
    assert [name for share in rows for name, _ in share] == ["0", "1"]


def test_references_learn_the_mean_depth_and_the_inverse_square_law(tmp_path):
    grey = np.array([255, 100, 50])
    depth_mm = 30 / np.sqrt(grey / 255)
    stored = np.rint(depth_mm / MM_PER_UNIT8).astype(int)
    dataset = write_grey_pairs(tmp_path, grey, stored)
    references = References.fit(dataset)
    assert references.constant_mm == pytest.approx(stored.mean() * MM_PER_UNIT8, rel=1e-6)
    assert references.brightness_k_mm == pytest.approx(30, rel=0.01)  # depth is stored in steps of 0.8 mm
    rgb = dataset.raw(1)[1]
    predicted = references.predict(rgb)
    assert predicted["constant"].shape == predicted["brightness"].shape == rgb.shape[:2]
    np.testing.assert_allclose(predicted["brightness"], depth_mm[1], rtol=0.01)


def test_references_of_pairs_without_valid_depth_are_a_users_error(tmp_path):
    with pytest.raises(UserError, match="no pixel of the training pairs is valid"):
        References.fit(write_grey_pairs(tmp_path, [100], [0]))


def test_references_take_the_next_pair_in_place_of_a_broken_one_where_told_so(tmp_path):
    good = References.fit(write_grey_pairs(tmp_path / "good", grey=[100, 50, 50], depth=[90, 60, 60]))
    dataset = write_grey_pairs(tmp_path / "bad", grey=[100, 200, 50], depth=[90, 10, 60])
    broken = tmp_path / "bad" / "test_B" / "1.png"
    broken.write_bytes(broken.read_bytes()[:-20])
    assert References.fit(dataset, skip_bad=True) == good
    with pytest.raises(UserError, match=r"test_B/1\.png is truncated"):
        References.fit(dataset)


def test_batches_hold_every_item_once():
    assert list(batches(range(7), 3)) == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(batches([], 3)) == []


def test_split_that_is_not_there_is_none(make_options, dataroot):
    assert len(find_split(make_options(), "test")) == 3
    assert find_split(make_options(), "validation") is None


def test_a_part_is_scored_under_the_alignment_of_the_whole_image():
    """Left is right but for the scale of 2 that the median has, right is twice too far."""
    gt = np.full((2, 6), 100.0)
    pred = np.repeat([[50.0, 50, 50, 50, 100, 100]], 2, axis=0)
    left = np.zeros((2, 6), bool)
    left[:, :4] = True
    whole, static, dynamic = (ScoreBoard(("median",)) for _ in range(3))
    assert whole.add("a", {"ours": pred}, gt)
    assert static.add("a", {"ours": pred}, gt, part=left)
    assert dynamic.add("a", {"ours": pred}, gt, part=~left)
    assert static.of_image(0)["abs_rel"] == pytest.approx(0.0)
    assert dynamic.of_image(0)["abs_rel"] == pytest.approx(1.0)
    assert whole.of_image(0)["abs_rel"] == pytest.approx(1 / 3)
    assert not dynamic.add("b", {"ours": pred}, gt, part=np.zeros((2, 6), bool))


def test_alignments_are_those_that_the_method_and_the_truth_allow():
    assert ScoreBoard.judging(metric=True).alignments == ("none", "median", "scale_shift")
    assert ScoreBoard.judging(metric=False).alignments == ("median", "scale_shift")
    for metric in (True, False):
        board = ScoreBoard.judging(metric, relative_truth=True)
        assert board.alignments == ("scale_shift",)
        assert "rmse" not in board.metrics
