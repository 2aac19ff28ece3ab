"""The rows of the ladder, and the groups that take turns."""

from argparse import Namespace
from dataclasses import asdict

import pytest

from benchmark.cases import EXTRAS, OUR_LAYERS, Group, Load, changes, ladder, our_cases, plan_groups, with_extra

TRAIN, VIDEO, INFERENCE = (Load(what, 64, 1) for what in ("train", "video", "inference"))


def titles(cases):
    return [case.title for case in cases]


def test_ladder_of_training_leads_from_the_published_step_to_ours():
    cases = ladder(TRAIN, ["fp32", "bf16"], baseline=True, can_keep=True, on_cpu=True)
    assert titles(cases) == [
        "published",
        "+ memory kept",
        "+ fused Adam",
        "+ our schedule",
        "+ norm without copies",
        "+ sub-pixel decoder",
        "+ Winograd in the blocks",
        "ours, fp32 (+ output by pixels)",
        "ours, bf16",
    ]
    first, *_, ours, low = cases
    assert (first.published, first.layers, first.fused, first.keep_memory) == (True, (), False, False)
    assert (ours.published, ours.layers, ours.fused, ours.keep_memory) == (False, OUR_LAYERS, True, True)
    assert (ours.precision, low.precision, low.before) == ("fp32", "bf16", ours.title)


@pytest.mark.parametrize("load", [TRAIN, VIDEO, INFERENCE])
def test_each_row_has_one_change_and_is_compared_with_the_row_before(load):
    cases = ladder(load, ["fp32"], baseline=True, can_keep=True, on_cpu=True)
    assert len(cases) == 1 + len(changes(load, on_cpu=True))
    for before, case in zip(cases[:-1], cases[1:], strict=True):
        changed = [key for key, value in asdict(case).items() if asdict(before)[key] != value]
        assert len(set(changed) - {"title", "before"}) == 1
        assert case.before == before.title


def test_where_the_allocator_cannot_keep_memory_its_row_is_left_out():
    for load in (TRAIN, INFERENCE):
        cases = ladder(load, ["fp32"], baseline=True, can_keep=False, on_cpu=True)
        assert len(cases) == len(changes(load, on_cpu=True))
        assert not any(case.keep_memory for case in cases)
        assert {case.worker for case in cases} == {"default"}


def test_only_the_published_rows_run_with_the_default_allocator():
    cases = ladder(TRAIN, ["fp32", "bf16"], baseline=True, can_keep=True, on_cpu=True)
    assert [case.worker for case in cases] == ["default"] + ["kept"] * 8


def test_without_a_baseline_there_are_ours_only():
    cases = ladder(VIDEO, ["bf16", "fp32"], baseline=False, can_keep=True, on_cpu=True)
    assert titles(cases) == ["ours, bf16", "ours, fp32"]
    assert not any(case.published for case in cases)
    assert cases[1].before == "ours, bf16"


def test_tf32_helps_the_published_step_too():
    cases = ladder(TRAIN, ["fp32", "tf32", "bf16"], baseline=True, can_keep=False, on_cpu=False)
    assert titles(cases)[-3:] == ["ours, tf32", "ours, bf16", "published, tf32"]
    assert (cases[-1].published, cases[-1].precision, cases[-1].layers) == (True, "tf32", ())


def test_layers_that_are_plain_on_a_gpu_have_no_row_there():
    cases = ladder(INFERENCE, ["fp32"], baseline=True, can_keep=False, on_cpu=False)
    assert titles(cases) == ["published", "+ no gradients", "+ norm without copies", "ours, fp32 (+ sub-pixel decoder)"]
    assert [case.layers for case in cases] == [(), (), ("norm",), OUR_LAYERS]


@pytest.mark.parametrize("extra", EXTRAS)
def test_extra_is_compared_with_our_step_in_the_same_precision(extra):
    ours = our_cases(ladder(TRAIN, ["fp32", "bf16"], baseline=True, can_keep=True, on_cpu=True))
    assert [case.precision for case in ours] == ["fp32", "bf16"]
    group = with_extra(ours, extra)
    assert group[:2] == ours
    assert [(case.precision, case.before, case.worker) for case in group[2:]] == [
        ("fp32", ours[0].title, extra),
        ("bf16", ours[1].title, extra),
    ]


def test_groups_are_what_was_asked_for():
    opt = Namespace(what=["inference", "train", "loader"], sizes=[32, 64], batch=2, infer_batches=[1, 4])
    vars(opt).update(precisions=["fp32"], baseline="published", extras=["compile"])
    groups = plan_groups(opt, can_keep=True, on_cpu=True)
    loads = [(group.name, group.cases[0].load) for group in groups]
    assert loads == [
        *(("ladder", Load("inference", size, batch)) for size in (32, 64) for batch in (1, 4)),
        *((name, Load("train", size, 2)) for size in (32, 64) for name in ("ladder", "compile")),
    ]


def test_work_is_counted_once_for_all_that_compute_the_same():
    ours = ladder(TRAIN, ["fp32", "bf16"], baseline=True, can_keep=True, on_cpu=True)
    assert [titles(alike)[0] for alike in Group("ladder", ours).same_work()] == [
        "published",
        "+ our schedule",
        "+ norm without copies",
        "+ sub-pixel decoder",
        "+ Winograd in the blocks",
        "ours, fp32 (+ output by pixels)",
        "ours, bf16",  # whose blocks are direct
    ]
    recomputing = with_extra(our_cases(ours), "checkpoint_activations")
    assert [len(alike) for alike in Group("", recomputing).same_work()] == [1, 1, 1, 1]


def test_what_was_compiled_is_counted_without_compiling():
    ours = our_cases(ladder(TRAIN, ["fp32", "bf16"], baseline=True, can_keep=True, on_cpu=True))
    compiled = with_extra(ours, "compile")[2:]
    assert [case.working_layers for case in compiled] == [("norm", "decoder")] * 2
    assert [(case.counted.extra, case.counted.layers) for case in compiled] == [("", ("norm", "decoder"))] * 2
    assert [case.counted for case in ours] == ours
