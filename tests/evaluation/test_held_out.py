"""What a training is judged by: depth of a split, or its losses on clips that are held out."""

from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest

from data.clips_dataset import ClipsDataset
from data.formats import open_clips
from data.pairs_dataset import PairsDataset
from data.transforms import Preprocessing
from evaluation import held_out
from evaluation.held_out import find_held_out, score_held_out
from models.base_model import BaseModel
from tests.evaluation.test_scores import write_grey_pairs
from tests.tiny_run import FRAME, write_data_set, write_png
from util.errors import UserError


class Judged(BaseModel):
    """Is judged by the brightness of the frames, once as it is and once negative and doubled."""

    def __init__(self, by="terms"):
        super().__init__(None)
        self.by, self.sizes = by, []

    def validates_by(self, opt):
        return self.by

    def predict(self, images):
        return (images.mean(dim=1, keepdim=True) + 1) * 100

    def validation_terms(self, batch):
        assert not self.training
        frames = batch["video"]["frames"]
        self.sizes.append(len(frames))
        bright = 255 * (frames.mean() + 1) / 2
        return {"bright": bright, "dark": -2 * bright}


class OneOf:
    """Process ``rank`` of several; what the others have gathered is given."""

    def __init__(self, rank=0, others=()):
        self.rank, self.size, self.main, self.others, self.mine = rank, 1 + len(others), rank == 0, others, None

    def gather(self, share):
        self.mine = share
        return [share, *self.others]


def engine_of(method, processes=None):
    precision = SimpleNamespace(autocast=nullcontext)
    return SimpleNamespace(
        method=method, processes=processes or OneOf(), precision=precision, to_device=lambda batch: batch
    )


def clips_of(root, values):
    """Pairs of frames of one grey value each."""
    for number, value in enumerate(values):
        for frame in range(2):
            write_png(root / f"{number:02d}" / f"{frame}.png", np.full((*FRAME, 3), value, np.uint8))
    return ClipsDataset(open_clips(root), Preprocessing("none", flip=True), length=2)


def score(data, method, batch_size=2, processes=None):
    return score_held_out(data, None, engine_of(method, processes), batch_size, "eval")


def test_scores_of_clips_are_means_over_batches_and_their_sum_is_ranked(tmp_path):
    method = Judged()
    scores, ranked_by = score(clips_of(tmp_path, [10, 30, 50, 110]), method)
    assert ranked_by == "total"
    assert scores == pytest.approx({"bright": 50, "dark": -100, "total": -50}, rel=1e-5)
    assert method.sizes == [2, 2]


def test_batches_that_say_nothing_do_not_count_and_none_at_all_is_the_worst(tmp_path):
    class Silent(Judged):
        def validation_terms(self, batch):
            bright = super().validation_terms(batch)["bright"]
            return {"bright": bright.where(bright > self.least, bright.new_tensor(float("nan")))}

    method = Silent()
    method.least = 50
    assert score(clips_of(tmp_path, [10, 30, 50, 110]), method).scores["total"] == pytest.approx(80, rel=1e-5)
    method.least = 200
    assert score(clips_of(tmp_path, [10, 30, 50, 110]), method).scores["total"] == float("inf")


def test_every_batch_is_full_also_where_the_clips_cannot_be_divided_into_such(tmp_path):
    method = Judged()
    score(clips_of(tmp_path, [10, 20, 30]), method)
    assert method.sizes == [2, 2]
    alone = Judged()
    assert score(clips_of(tmp_path / "few", [7]), alone, batch_size=8).scores["bright"] == pytest.approx(7, rel=1e-5)
    assert alone.sizes == [1]


def test_of_many_batches_some_are_taken_from_beginning_to_end(tmp_path, monkeypatch):
    monkeypatch.setattr(held_out, "MAX_BATCHES", 3)
    scores = score(clips_of(tmp_path, range(10, 110, 10)), Judged(), batch_size=1).scores
    assert scores["bright"] == pytest.approx((10 + 50 + 100) / 3, rel=1e-5)


def test_several_processes_share_the_batches_and_have_one_score(tmp_path):
    data = clips_of(tmp_path, [10, 20, 30, 40, 80])
    shares = []
    for rank in range(2):
        processes = OneOf(rank, others=([],))
        score(data, Judged(), batch_size=1, processes=processes)
        shares.append(processes.mine)
    assert [len(share) for share in shares] == [3, 2]
    whole = score(data, Judged(), batch_size=1).scores
    assert score(data, Judged(), batch_size=1, processes=OneOf(0, others=(shares[1],))).scores == pytest.approx(whole)


def test_a_clip_that_one_process_cannot_read_ends_all_of_them(tmp_path):
    data = clips_of(tmp_path, [10, 20])
    with pytest.raises(UserError, match="far away"):
        score(data, Judged(), processes=OneOf(0, others=(UserError("far away"),)))
    broken = tmp_path / "01" / "0.png"
    broken.write_bytes(broken.read_bytes()[:-40])
    here = OneOf(0, others=([],))
    with pytest.raises(UserError, match=r"01/0\.png is truncated"):
        score(data, Judged(), processes=here)
    assert isinstance(here.mine, UserError)  # it was told to the others, who would wait for it


def test_pairs_are_ranked_by_the_first_alignment_that_means_something(brightness_predictor, tmp_path):
    data = write_grey_pairs(tmp_path, grey=[100, 120], depth=[100, 100])
    scores, ranked_by = score_held_out(data, brightness_predictor, engine_of(None), 2, "eval")
    assert ranked_by == "abs_rel"
    assert scores["abs_rel"] == pytest.approx(0.1, rel=1e-5)


def test_what_is_held_out_is_what_the_method_is_judged_by(make_options, tmp_path):
    root = write_data_set(tmp_path / "data")
    opt = make_options(val_video_root=None, video_dataset="folder", video_parts=[], clip_length=2, frame_step=1)
    assert isinstance(find_held_out(opt, Judged("depth")), PairsDataset)
    with pytest.raises(FileNotFoundError, match=r"no folder .*video_eval of clips to validate on; give --val_video_"):
        find_held_out(opt, Judged())
    opt.val_video_root = root / "video_test"
    data = find_held_out(opt, Judged())
    assert (len(data), [clip.place for clip in data.clips]) == (2, [root / "video_test" / "clip"])
