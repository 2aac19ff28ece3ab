"""A run that is killed goes on to the bit, wherever it was; what claims to be whole is whole."""

import json
import os
import re
import shutil
import time

import numpy as np
import pytest

from data.image_files import read_rgb
from tests.faults import children as faults
from tests.faults.children import KILLED
from tests.faults.conftest import ITERATIONS, flags
from tests.tiny_run import write_clip, write_data_set
from tests.util.test_checkpoint import wait_until
from util.checkpoint import generations, load_checkpoint, read_undamaged, saved_epochs

LATEST = "`latest` of the last save"
GOES_ON = "`--continue_train` ends as the undisturbed run to the bit"


@pytest.fixture
def killed(children, dataroot, checkpoints, tmp_path):
    """Train in a process that is killed, and say where it then is: the iteration of ``latest``."""

    def killed(where, *how, more=("--save_latest_freq=1",), begins=False, dataroot=dataroot):
        args = flags(dataroot, checkpoints, f"--max_steps={ITERATIONS}", *more, *[] if begins else ["--continue_train"])
        outcome = children.train(args, tmp_path / "err.txt", where, *how)
        assert outcome.code == KILLED, outcome.err
        assert outcome.errors == []
        held = [load_checkpoint(file)["iteration"] for file in generations(checkpoints / "demo" / "latest.pth")]
        for bare in (checkpoints / "demo").glob("*_net_*.pth"):
            read_undamaged(bare)
        return held

    return killed


def test_killed_between_two_iterations(killed, tmp_path, goes_on_to_the_bit, tell):
    """The second time with processes that load data, which outlive it for some seconds and do not stand in the way."""
    often, loaders = ["--save_latest_freq=2"], tmp_path / "loaders"
    assert killed(faults.between_iterations, 4, more=often, begins=True) == [2]
    assert killed(faults.between_iterations, 6, loaders, more=[*often, "--nThreads=1"]) == [4, 2]
    assert goes_on_to_the_bit().errors == []
    assert loaders.read_text().count(" ") == 1  # a process for each of two streams
    wait_until(lambda: not any(faults.is_alive(pid) for pid in loaders.read_text().split()), seconds=20)
    tell("`kill -9` between two iterations", "", f"{LATEST}; {GOES_ON}", 137)


def test_killed_while_a_checkpoint_is_written(killed, begun, goes_on_to_the_bit, tell):
    """Between the files, within the content, and before each of the renames; 5 and 7 lie within epochs 2 and 3."""
    for place, held in (
        ((faults.before_renaming_to, "latest_net_D.pth", 1), [5, 4]),
        ((faults.amid_writing, "latest.", 1), [5, 4]),
        ((faults.before_renaming_to, "latest_1.pth", 1), [5, 4]),
        ((faults.before_renaming_to, "latest.pth", 1), [5, 5]),
    ):
        assert killed(*place, more=["--save_latest_freq=7"]) == held
    assert load_checkpoint(begun / "latest.pth")["streams"] == {"synthetic": 5, "video": 2}
    assert goes_on_to_the_bit().errors == []
    assert not list(begun.rglob(".*partial*"))
    tell(
        "`kill -9` while a checkpoint is written, in the middle of an epoch with video",
        "",
        f"the `latest` before it, whole; half-written files are removed by the next start; {GOES_ON}",
        137,
    )


def test_killed_while_the_first_checkpoint_is_written(killed, train, checkpoints, tell):
    """There are bare weights, but nothing to go on with: the run begins anew, and nobody has to tidy up first."""
    assert killed(faults.amid_writing, "latest.", 1, begins=True) == []
    assert (checkpoints / "demo" / "latest_net_G.pth").is_file()
    outcome = train()
    assert (outcome.code, outcome.errors) == (0, [])
    assert load_checkpoint(checkpoints / "demo" / "latest.pth")["iteration"] == ITERATIONS
    kept = "nothing yet; the same command begins again"
    tell("`kill -9` while the first checkpoint of a run is written", "", kept, 137)


def test_killed_while_an_epoch_is_scored(killed, checkpoints, goes_on_to_the_bit, tell):
    """The epoch is saved before; its scores, its own checkpoint and ``best`` come when the run goes on."""
    often = ["--eval_epoch_freq=1", "--save_epoch_freq=2"]
    assert killed(faults.before_scores, 2, more=often, begins=True) == [6, 3]
    assert saved_epochs(checkpoints / "demo") == ["best", "latest", "latest_1"]
    goes_on_to_the_bit(*often)
    assert saved_epochs(checkpoints / "demo") == ["2", "best", "latest", "latest_1"]
    assert load_checkpoint(checkpoints / "demo" / "2.pth")["iteration"] == 6
    log = (checkpoints / "demo" / "loss_log.txt").read_text()
    scores = {int(i): float(value) for i, value in re.findall(r"eval at iteration (\d+): abs_rel ([\d.]+)", log)}
    assert list(scores) == [3, 6, 8]
    best = load_checkpoint(checkpoints / "demo" / "best.pth")
    assert best["iteration"] == min(scores, key=scores.get)
    assert best["best"]["abs_rel"] == pytest.approx(min(scores.values()), rel=1e-3)
    kept = f"`latest` of the end of that epoch; {GOES_ON}, and scores that epoch first"
    tell("`kill -9` while an epoch is scored", "", kept, 137)


def test_killed_while_flow_is_computed(killed, dataroot, checkpoints, goes_on_to_the_bit, tell):
    cache = dataroot / "flow_cache" / "video_train"
    (entry,) = cache.glob("*/clip")
    whole = {name: np.load(entry / name) for name in ("flow.npy", "mask.npy")}
    shutil.rmtree(cache)
    for place in (
        (faults.amid_clip, 2),
        (faults.before_renaming_to, "flow.npy", 1),
        (faults.amid_writing, "source.", 1),
    ):
        assert killed(*place, begins=True) == []
        assert not (entry / "source.json").exists()
    left = list(entry.glob(".*.partial*"))
    for file in left:
        os.utime(file, times=(time.time() - 2 * 86400,) * 2)
    assert killed(faults.between_iterations, 3, begins=True) == [2, 1]
    assert left
    assert not list(entry.glob(".*"))
    for name, array in whole.items():
        np.testing.assert_array_equal(np.load(entry / name), array)
    goes_on_to_the_bit()
    tell(
        "`kill -9` while the flow of the clips is computed",
        "",
        "the flow of the clips that were finished; the others are computed again, and what was half-written is removed "
        "after a day, since another run may be writing beside this one",
        137,
    )


def test_flow_of_clips_that_were_finished_is_kept(killed, train, tmp_path):
    """3 pairs of the first clip, 4 of the second one."""
    data = write_data_set(tmp_path / "data")
    write_clip(data / "video_train" / "before", 4)
    assert killed(faults.amid_clip, 5, begins=True, dataroot=data) == []
    (entry,) = (data / "flow_cache" / "video_train").glob("*/before")
    finished = (entry / "source.json").stat()
    assert not (entry.with_name("clip") / "source.json").exists()
    assert train(dataroot=data).code == 0
    now = (entry / "source.json").stat()
    assert (now.st_ino, now.st_mtime_ns) == (finished.st_ino, finished.st_mtime_ns)  # it was read, not written
    assert (entry.with_name("clip") / "source.json").exists()


def test_killed_while_a_picture_or_the_page_is_written(killed, begun, goes_on_to_the_bit, tell):
    web, often = begun / "web", ["--display_freq=1"]
    for place in (
        (faults.amid_writing, "00000006_prediction", 1),
        (faults.before_renaming_to, "index.html", 1),
        (faults.before_renaming_to, "entries.json", 1),
    ):
        assert killed(*place, more=often) == [5, 4]
        for picture in (web / "images").glob("[!.]*.png"):
            read_rgb(picture)
        assert (web / "index.html").read_text().endswith("</html>\n")
        assert json.loads((web / "entries.json").read_text())[0]["iteration"] == 5
    goes_on_to_the_bit(*often)
    assert [entry["iteration"] for entry in json.loads((web / "entries.json").read_text())] == [8, 7, 6, 5]
    tell(
        "`kill -9` while pictures and the page are written",
        "",
        f"{LATEST}, and every picture and page that was there; {GOES_ON}",
        137,
    )
