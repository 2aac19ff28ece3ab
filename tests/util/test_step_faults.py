"""What goes wrong in a step is told in one line: with files, checkpoints and flags."""

from pathlib import Path

import pytest
import torch
from torch import nn

from util.engine import Engine, EngineSettings
from util.errors import UserError
from util.loss_record import TrainingDiverged
from util.step_faults import StepFaults
from util.updates import Progress, Update

OPTIONS = {"streams": ["synthetic", "video"], "batch_size": 4, "video_batch_size": 2, "accumulate": 1}
NAN = float("nan")


class Line(nn.Module):
    """A method that learns y = w x, times what the batch says."""

    def __init__(self):
        super().__init__()
        self.net_G = nn.Linear(1, 1, bias=False)

    def networks(self):
        return {"net_G": self.net_G}

    inference_networks = networks

    def begin_epoch(self, epoch):
        pass

    def build_optimizers(self):
        return {"G": torch.optim.SGD(self.net_G.parameters(), lr=0.01)}

    def training_step(self, batch, progress):
        x = batch["synthetic"]["x"]
        yield Update("G", {"slope": self.net_G(x).mean(), "size": self.net_G(x * 0 + 1).square().mean()})

    def visuals(self, batch):
        return {}


def files_of(numbers):
    """Batch n has six files of pairs and a clip."""
    counts = {"synthetic": 6, "video": 1}
    return {stream: [Path(f"{stream}/{n}_{i}.png") for i in range(counts[stream])] for stream, n in numbers.items()}


@pytest.fixture
def faults(tmp_path):
    def faults(memory=10, **options):
        engine = Engine(Line(), EngineSettings(skip_nonfinite=options.get("skip_nonfinite", 0)))
        return StepFaults(engine, tmp_path, OPTIONS | options, files_of, memory)

    return faults


def run(faults, factors):
    """One iteration for each factor; losses are read at the end."""
    with faults.told():
        for iteration, factor in enumerate(factors, start=1):
            faults.remember(iteration, {"synthetic": 10 + iteration, "video": 20 + iteration})
            faults.engine.step({"synthetic": {"x": torch.full((4, 1), factor)}}, Progress(1, iteration))
        faults.engine.losses()


def test_nothing_wrong_says_nothing(faults):
    run(faults(), [1.0, 2.0])


def test_nan_is_told_with_its_term_its_iteration_and_the_files_of_its_batch(faults, tmp_path):
    for name in ("latest.pth", "latest_net_G.pth", "10.pth", "10_net_G.pth"):
        (tmp_path / name).touch()
    with pytest.raises(TrainingDiverged) as error:
        run(faults(), [1.0, NAN, 1.0])
    assert (error.value.iteration, error.value.terms) == (2, ("slope", "size"))  # the size of NaN * 0 + 1
    text = str(error.value)
    assert text.startswith("slope and size became nan or infinite in iteration 2 (means since the last line: ")
    assert (
        "; its batch was synthetic: synthetic/12_0.png, synthetic/12_1.png, synthetic/12_2.png, synthetic/12_3.png and "
        f"2 more; video: video/22_0.png; {tmp_path}/ holds 10, latest, as they were; --continue_train goes on from "
        "latest, with a lower --lr or --clip_norm 1, or --skip_nonfinite 10 if a few batches are to blame"
    ) in text
    assert "\n" not in text


def test_only_the_remembered_batches_are_named(faults):
    for iteration, named in ((3, True), (2, False)):
        factors = [NAN if i == iteration else 1.0 for i in range(1, 5)]
        with pytest.raises(TrainingDiverged) as error:
            run(faults(memory=2), factors)
        assert error.value.iteration == iteration
        assert (f"synthetic/{10 + iteration}_0.png" in str(error.value)) is named


def test_files_that_cannot_be_read_again_do_not_hide_the_fault(faults):
    def unreadable(numbers):
        raise OSError(5, "Input/output error")

    broken = faults()
    broken.files_of = unreadable
    with pytest.raises(TrainingDiverged, match=r"^slope and size became .*\); nothing was saved yet, with"):
        run(broken, [NAN])


def test_spoiled_weights_are_told_without_a_batch(faults):
    broken = faults()
    with torch.no_grad():
        broken.engine.method.net_G.weight.fill_(NAN)
    with pytest.raises(TrainingDiverged, match=r"^weights of net_G are not finite any more; nothing was saved yet,"):
        run(broken, [])


def test_skipping_is_not_proposed_where_it_was_tried(faults):
    with pytest.raises(TrainingDiverged, match=r"^updates of 3 iterations in a row .*; its batch was .*/13_0") as error:
        run(faults(skip_nonfinite=2), [NAN, NAN, NAN])
    assert str(error.value).endswith("; nothing was saved yet, with a lower --lr or --clip_norm 1")


@pytest.mark.parametrize(
    ("there", "way"),
    [
        (["best", "5", "10"], "--continue_train --which_epoch best goes on from best"),
        (["5", "10"], "--continue_train --which_epoch 10 goes on from 10"),
        (["10", "latest_1"], "--continue_train goes on from latest"),
    ],
)
def test_way_back_is_one_that_there_is(faults, tmp_path, there, way):
    for name in there:
        (tmp_path / f"{name}.pth").touch()
    with pytest.raises(TrainingDiverged) as error:
        run(faults(), [NAN])
    assert f", as they were; {way}, with a lower --lr" in str(error.value)


@pytest.mark.parametrize(
    "full",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nand a table"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: can't allocate memory"),
        MemoryError(),
    ],
)
def test_full_memory_is_one_line_with_flags_and_checkpoints(faults, tmp_path, full):
    (tmp_path / "latest.pth").touch()
    with pytest.raises(UserError) as error, faults().told():
        raise full
    text = str(error.value)
    assert text.startswith("out of memory on the CPU")
    assert "--accumulate 2" in text
    assert "--batch_size 2 --video_batch_size 1" in text
    assert text.endswith(f"; {tmp_path}/ holds latest, as they were; --continue_train goes on from latest")
    assert "\n" not in text
    assert error.value.__cause__ is full


@pytest.mark.parametrize(
    "other",
    [RuntimeError("shapes differ"), ValueError("a"), UserError("no file"), KeyboardInterrupt(), OSError(28, "full")],
)
def test_other_errors_pass_through_untouched(faults, other):
    with pytest.raises(type(other)) as error, faults().told():
        raise other
    assert error.value is other
