"""What is measured of a frame, and what is wrong with it."""

import json

import numpy as np
import pytest

from data.check.frames import faults_of_a_frame, faults_of_a_split, measure, misfits_of
from data.formats import C3vdFormat, FolderFormat
from util.intrinsics import Intrinsics


@pytest.fixture
def split(save, tmp_path):
    """A set with pairs of the given depths [mm], each (H, W)."""

    def split(*depths, size=None, names=None):
        for number, depth in enumerate(depths):
            name = names[number] if names else f"{number:03d}"
            rgb = np.random.default_rng(number).integers(0, 255, (*(size or np.shape(depth)), 3))
            save(tmp_path / "train_A" / f"{name}.png", rgb)
            (tmp_path / "train_B").mkdir(exist_ok=True)
            np.save(tmp_path / "train_B" / f"{name}.npy", np.asarray(depth, np.float32))
        source = FolderFormat(tmp_path)
        return source, [measure(source, item) for item in source.items("train")]

    return split


def ramp(low, high, size=(12, 16)):
    return np.linspace(low, high, size[0] * size[1]).reshape(size)


def kinds(findings):
    return [finding.kind for finding in findings]


def test_facts_by_hand(split):
    depth = ramp(10, 49, (4, 10))
    depth[0] = 0
    _, (facts,) = split(depth)
    assert facts.size == (4, 10)
    assert facts.depth_mm == pytest.approx((20, 34.5, 49))
    assert (facts.invalid, facts.levels, facts.histogram.sum()) == (0.25, 30, 30)
    assert facts.fingerprint.shape == (32,)


def test_few_depths_are_a_warning_and_none_a_fault(split):
    source, (coarse, none) = split(np.repeat(ramp(20, 50, (1, 31)), 9, axis=0), np.zeros((4, 4)))
    assert [str(f) for f in faults_of_a_frame(coarse, source)][0].endswith("saved with too few bits")
    assert kinds(faults_of_a_frame(coarse, source)) == ["few depths"]
    assert kinds(faults_of_a_frame(none, source)) == ["no depth"]


@pytest.mark.parametrize(
    ("scale", "unit"), [(1e-3, "probably metres"), (0.03, "probably centimetres"), (1e3, "probably micrometres")]
)
def test_wrong_units_are_told_with_the_likely_one(split, scale, unit):
    source, frames = split(ramp(10, 60) * scale, ramp(5, 70) * scale)
    (finding,) = faults_of_a_split("train", frames, source)
    assert finding.kind == "unlikely depth"
    assert unit in finding.fix


def test_plausible_depth_is_no_finding(split):
    source, frames = split(ramp(5, 80), ramp(3, 150))
    assert list(faults_of_a_split("train", frames, source)) == []


def test_depth_beyond_the_full_scale_of_the_set_is_a_fault(split):
    _, (facts,) = split(ramp(5, 120))
    (finding,) = faults_of_a_frame(facts, C3vdFormat(None))
    assert "reaches 120.0 mm, beyond the 100 mm of this data set" in str(finding)


def test_mostly_invalid_depth_is_a_warning(split):
    depth = ramp(5, 80)
    depth[:8] = 0
    source, frames = split(depth)
    assert kinds(faults_of_a_split("train", frames, source)) == ["invalid"]


def test_sizes_may_differ_between_sequences_and_not_within(split):
    source, frames = split(ramp(5, 80), ramp(5, 80, (14, 16)), names=["a1_0", "b1_0"])
    assert kinds(faults_of_a_split("train", frames, source)) == []
    source, frames = split(ramp(5, 80), ramp(5, 80, (14, 16)), names=["a1_0", "a1_1"])
    assert "sizes" in kinds(faults_of_a_split("train", frames, source))


def test_frame_and_depth_of_two_sizes_are_a_finding_and_not_a_crash(split):
    _, (finding,) = split(ramp(5, 80), size=(6, 8))
    assert finding.kind == "size"
    assert "is 12x16 pixels, its frame 6x8" in str(finding)


def camera(fx=100.0, fy=100.0, cx=79.5, cy=59.5, size=(120, 160)):
    return Intrinsics(np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]]), size)


def test_camera_that_fits_is_no_finding_also_when_the_picture_was_resized():
    assert list(misfits_of(camera(), "frame", (120, 160))) == []
    assert list(misfits_of(camera(), "frame", (240, 320))) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"size": (160, 160)}, "of another shape"),
        ({"cx": 10.0}, "cx 10.0 in a picture of 160 pixels"),
        ({"cy": 119.0}, "cy 119.0 in a picture of 120 pixels"),
        ({"fx": 5.0}, "fx 5.0 px in a picture 160 px wide"),
        ({"fy": 2000.0}, "fy 2000.0 px"),
    ],
)
def test_cameras_that_cannot_be_are_named(changes, words):
    findings = [str(finding) for finding in misfits_of(camera(**changes), "frame", (120, 160))]
    assert [finding for finding in findings if words in finding]


def test_cameras_are_checked_once_a_sequence(split, tmp_path):
    source, frames = split(ramp(5, 80), ramp(5, 80), names=["a1_0", "a1_1"])
    fields = {"width": 16, "height": 16, "fx": 16, "fy": 16, "cx": 7.5, "cy": 7.5}
    (tmp_path / "train_A" / "intrinsics.json").write_text(json.dumps(fields))
    assert kinds(faults_of_a_split("train", frames, source)) == ["camera"]
