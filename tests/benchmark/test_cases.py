"""The rows of the ladder, and the groups that take turns."""

from argparse import Namespace
from dataclasses import asdict

import pytest

from benchmark.cases import CHANGES, EXTRAS, Group, Load, ladder, our_cases, plan_groups, with_extra

TRAIN, VIDEO, INFERENCE = (Load(what, 64, 1) for what in ("train", "video", "inference"))


def titles(cases):
    return [case.title for case in cases]


def test_ladder_of_training_leads_from_the_published_step_to_ours():
    cases = ladder(TRAIN, ["fp32", "bf16"], baseline=True, can_keep=True)
    assert titles(cases) == [
        "published",
        "+ memory kept",
        "+ fused Adam",
        "+ our schedule",
        "ours, fp32 (+ sub-pixel decoder)",
        "ours, bf16",
    ]
    first, *_, ours, low = cases
    assert (first.published, first.subpixel, first.fused, first.keep_memory) == (True, False, False, False)
    assert (ours.published, ours.subpixel, ours.fused, ours.keep_memory) == (False, True, True, True)
    assert (ours.precision, low.precision, low.before) == ("fp32", "bf16", ours.title)


@pytest.mark.parametrize("load", [TRAIN, VIDEO])
def test_each_row_has_one_change_and_is_compared_with_the_row_before(load):
    cases = ladder(load, ["fp32"], baseline=True, can_keep=True)
    assert len(cases) == 1 + len(CHANGES[load.what])
    for before, case in zip(cases[:-1], cases[1:], strict=True):
        changed = [key for key, value in asdict(case).items() if asdict(before)[key] != value]
        assert len(set(changed) - {"title", "before"}) == 1
        assert case.before == before.title


def test_where_the_allocator_cannot_keep_memory_its_row_is_left_out():
    for load in (TRAIN, INFERENCE):
        cases = ladder(load, ["fp32"], baseline=True, can_keep=False)
        assert len(cases) == len(CHANGES[load.what])
        assert not any(case.keep_memory for case in cases)
        assert {case.worker for case in cases} == {"default"}


def test_only_the_published_rows_run_with_the_default_allocator():
    cases = ladder(TRAIN, ["fp32", "bf16"], baseline=True, can_keep=True)
    assert [case.worker for case in cases] == ["default"] + ["kept"] * 5


def test_without_a_baseline_there_are_ours_only():
    cases = ladder(VIDEO, ["bf16", "fp32"], baseline=False, can_keep=True)
    assert titles(cases) == ["ours, bf16", "ours, fp32"]
    assert not any(case.published for case in cases)
    assert cases[1].before == "ours, bf16"


def test_tf32_helps_the_published_step_too():
    cases = ladder(TRAIN, ["fp32", "tf32", "bf16"], baseline=True, can_keep=False)
    assert titles(cases)[-3:] == ["ours, tf32", "ours, bf16", "published, tf32"]
    assert (cases[-1].published, cases[-1].precision, cases[-1].subpixel) == (True, "tf32", False)


@pytest.mark.parametrize("extra", EXTRAS)
def test_extra_is_compared_with_our_step_in_the_same_precision(extra):
    ours = our_cases(ladder(TRAIN, ["fp32", "bf16"], baseline=True, can_keep=True))
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
    groups = plan_groups(opt, can_keep=True)
    loads = [(group.name, group.cases[0].load) for group in groups]
    assert loads == [
        *(("ladder", Load("inference", size, batch)) for size in (32, 64) for batch in (1, 4)),
        *((name, Load("train", size, 2)) for size in (32, 64) for name in ("ladder", "compile")),
    ]


def test_work_is_counted_once_for_all_that_compute_the_same():
    ours = ladder(TRAIN, ["fp32", "bf16"], baseline=True, can_keep=True)
    assert [titles(alike)[0] for alike in Group("ladder", ours).same_work()] == [
        "published",
        "+ our schedule",
        "ours, fp32 (+ sub-pixel decoder)",
    ]
    recomputing = with_extra(our_cases(ours), "checkpoint_activations")
    assert [len(alike) for alike in Group("", recomputing).same_work()] == [2, 2]
