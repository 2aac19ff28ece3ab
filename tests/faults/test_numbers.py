"""Numbers that stop being numbers, and those that show that nothing is learned any more."""

import pytest
import torch

from models.colon2depth_model import Colon2depthModel
from tests.faults import children as faults
from tests.faults.conftest import log_of
from tests.test_train_and_test import assert_one_error
from util.checkpoint import load_checkpoint

BEFORE = "the checkpoints of before, none of them with what is not a number"


def spoil(batch, iteration=None):
    batch["synthetic"]["depth_mm"].fill_(float("nan"))


def scale_terms(monkeypatch, method_of_model, factor):
    """Let a method of colon2depth return its terms, or its depth, times a factor."""
    original = getattr(Colon2depthModel, method_of_model)

    def scaled(*args):
        result = original(*args)
        return {name: factor * term for name, term in result.items()} if isinstance(result, dict) else factor * result

    monkeypatch.setattr(Colon2depthModel, method_of_model, scaled)


def warning_of(outcome):
    assert outcome.code == 0, outcome.err
    (warning,) = [line for line in outcome.err.splitlines() if line.startswith("warning")]
    return warning


def test_nan_in_a_batch_ends_the_run_with_its_files(train, begun, goes_on_to_the_bit, monkeypatch, tell):
    with monkeypatch.context() as patch:
        faults.before_step(patch, 7, lambda batch, now: spoil(batch) if now == 7 else None)
        outcome = train("--continue_train", "--print_freq=2", "--save_latest_freq=2")
    words = ["nan or infinite in iteration 7", "its batch was synthetic: ", "train_A/", "video: ", "holds best, latest"]
    assert_one_error(outcome, "error: G_GAN and G_FM became nan", *words, "lower --lr", "--skip_nonfinite 10")
    assert load_checkpoint(begun / "latest.pth")["iteration"] == 6
    goes_on_to_the_bit()  # the batch that was spoiled in memory is good on the disk
    tell("nan in the depth of a batch", outcome.errors[0], BEFORE, 2)


def test_losses_that_explode_are_found_at_the_latest_when_they_would_be_saved(train, begun, tell):
    """The update of iteration 6 spoils the weights; no line of the log is due before iteration 7 is to be saved."""
    before = (begun / "latest.pth").read_bytes()
    outcome = train("--continue_train", "--lr=1e30", "--save_latest_freq=7")
    assert_one_error(outcome, "became nan or infinite in iteration 6", "its batch was synthetic: ", "lower --lr")
    assert (begun / "latest.pth").read_bytes() == before
    tell("losses explode, since `--lr` is far too high", outcome.errors[0], BEFORE, 2)


def test_update_that_is_not_finite_is_left_out(train, checkpoints, monkeypatch, tell):
    faults.before_step(monkeypatch, 5, lambda batch, now: spoil(batch) if now == 5 else None)
    outcome = train("--skip_nonfinite=3", "--print_freq=1")
    assert outcome.code == 0, outcome.err
    held = load_checkpoint(checkpoints / "demo" / "latest.pth")
    assert held["iteration"] == 8
    assert all(weight.isfinite().all() for net in held["networks"].values() for weight in net.values())
    (line,) = [line for line in log_of(checkpoints / "demo") if "iters: 5," in line]
    assert "G_FM: nan" in line
    assert "left_out: 1" in line
    tell("nan in one batch, with `--skip_nonfinite 3`", line, "the training, without that update", None)


def test_too_many_updates_in_a_row_that_are_not_finite_end_the_run(train, begun, monkeypatch, tell):
    """Those that learn from the depth; the generator has good video between."""
    faults.before_step(monkeypatch, 6, spoil)
    outcome = train("--continue_train", "--skip_nonfinite=3", "--niter=9", last=20)
    assert_one_error(outcome, "updates of 4 iterations in a row are not finite", "the last one in iteration 9")
    assert load_checkpoint(begun / "latest.pth")["iteration"] == 5
    tell("nan in every batch, with `--skip_nonfinite 3`", outcome.errors[0], BEFORE, 2)


def test_gradients_that_overflow_at_any_scale_are_warned_of(train, tell):
    """Finite losses, whose gradients fp16 cannot hold: the scale is halved from 65536 on."""
    warning = warning_of(train("--precision=fp16", "--lambda_feat=1e15", "--print_freq=1", "--niter=9", last=18))
    assert warning.startswith("warning: the loss scale of G is below 1")
    kept = "the training goes on, without the updates that overflow"
    tell("gradients that overflow in fp16 whatever the loss scale", warning, kept, None)


@pytest.mark.parametrize(
    ("fault", "method_of_model", "words"),
    [
        ("the discriminator wins", "discriminator_terms", ["tells real from fake", "usual causes"]),
        ("the predicted depth is constant", "generate", ["is almost constant", "usual causes"]),
    ],
)
def test_training_that_learns_nothing_is_warned_of_with_likely_causes(
    train, monkeypatch, tell, fault, method_of_model, words
):
    scale_terms(monkeypatch, method_of_model, torch.tensor(1e-4))
    warning = warning_of(train("--print_freq=1", "--d_every=1"))
    assert all(word in warning for word in words)
    tell(fault, warning, "the training goes on", None)
