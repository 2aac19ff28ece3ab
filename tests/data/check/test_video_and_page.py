"""Clips in which nothing moves, the quick look before a training, and the page."""

import re

import cv2
import numpy as np
import pytest

from data.check.command import check
from data.check.findings import Finding, Report, Summary, shortened
from data.check.page import overlay, write_check_page
from data.check.quick import FRAMES, check_quickly, spread
from data.check.video import check_clip, still_share
from data.clips import list_clips
from data.formats import FolderFormat
from util.errors import UserError


def test_a_clip_that_stands_still_is_a_warning(save, tmp_path):
    still = np.random.default_rng(0).integers(0, 255, (20, 28, 3))
    for number in range(6):
        save(tmp_path / "still" / f"{number}.png", still)
        save(tmp_path / "moves" / f"{number}.png", np.roll(still, 3 * number, axis=1))
    found = {clip.name: list(check_clip(clip, Summary("v"))) for clip in list_clips(tmp_path)}
    assert [finding.what for finding in found["still"]] == ["shows no motion"]
    assert found["moves"] == []


def test_an_interlaced_clip_is_a_warning_with_the_way_out(save, tmp_path):
    wide = cv2.GaussianBlur(np.random.default_rng(0).uniform(0, 255, (48, 120, 3)), (0, 0), 3)
    wide = cv2.normalize(wide, None, 20, 230, cv2.NORM_MINMAX)
    for number in range(6):
        early, late = (wide[:, start : start + 64].copy() for start in (8 * number, 8 * number + 4))
        save(tmp_path / "whole" / f"{number}.png", early)
        early[1::2] = late[1::2]
        save(tmp_path / "woven" / f"{number}.png", early)
    found = {clip.name: list(check_clip(clip, Summary("v"))) for clip in list_clips(tmp_path)}
    assert found["whole"] == []
    assert [finding.kind for finding in found["woven"]] == ["interlaced"]
    assert "data.prepare_video" in found["woven"][0].fix


def test_share_of_still_neighbours():
    frames = [np.full((4, 4), value, np.float32) for value in (0.1, 0.1, 0.2, 0.2, 0.2)]
    assert still_share(frames) == 0.75
    assert still_share(frames[:1]) == 0


# Before a training


def test_good_data_passes_quickly(tiny_set):
    check_quickly(FolderFormat(tiny_set), ["train", "eval", "test"])


def test_wrong_unit_is_found_before_the_training(tiny_set):
    (tiny_set / "train_B" / "depth.json").write_text('{"mm_per_unit": 0.0001}')
    words = r"the split train has a median depth of .* mm.* \(python -m data\.check .*--no_check trains nevertheless\)$"
    with pytest.raises(UserError, match=words):
        check_quickly(FolderFormat(tiny_set), ["train", "eval"])


def test_several_faults_stand_in_one_line_and_bad_files_may_be_skipped(tiny_set):
    for number in (0, 3):
        (tiny_set / "train_A" / f"000{number}.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"0000\.png cannot be read .* \| .*0003\.png cannot be read"):
        check_quickly(FolderFormat(tiny_set), ["train"])
    check_quickly(FolderFormat(tiny_set), ["train"], skip_bad=True)


def test_the_frames_that_are_looked_at_are_spread_from_first_to_last():
    assert spread(list(range(100)))[:: FRAMES - 1] == [0, 99]
    assert len(spread(list(range(100)))) == FRAMES
    assert spread([5, 6]) == [5, 6]


# The page and the text


def test_page_shows_findings_histograms_and_samples(tiny_set, tmp_path):
    (tiny_set / "train_A" / "0000.png").write_bytes(b"")
    source = FolderFormat(tiny_set)
    report, frames = check(source, "folder")
    write_check_page(tmp_path / "out", report, source, frames)
    page = (tmp_path / "out" / "index.html").read_text()
    assert "Faults (1)" in page
    assert "0000.png cannot be read" in page
    pictures = sorted((tmp_path / "out" / "images").iterdir())
    assert len(pictures) == 3 * (2 + 2 + 4)  # frame, depth and both, of up to 4 frames of each split
    linked = re.findall(r'href="(images/[^"]+)"', page)
    assert sorted(linked) == [f"images/{path.name}" for path in pictures]
    assert page.count('class="bars"') == 3
    write_check_page(tmp_path / "out", report, source, {})
    assert not (tmp_path / "out" / "images").exists()


def test_overlay_shows_depth_where_there_is_some():
    rgb, depth = np.full((2, 2, 3), 0.5, np.float32), np.array([[0.0, 10.0], [0.0, 50.0]])
    mixed = overlay(rgb, depth, 50.0)
    assert (mixed[:, 0] == 128).all()
    assert (mixed[:, 1] != 128).any()


def test_findings_of_a_kind_are_shortened_and_others_are_not():
    findings = [Finding("a", f"f{n}", "is bad") for n in range(12)] + [Finding("b", "g", "is worse", "do this")]
    lines = shortened(findings)
    assert lines[:2] == ["f0 is bad", "f1 is bad"]
    assert lines[10:] == ["... and 2 more of the kind 'a'", "g is worse; do this"]


def test_text_counts_what_it_lists():
    report = Report(
        "set",
        "folder",
        [Summary("train")],
        [Finding("a", "x", "is bad"), Finding("b", "y", "looks odd", "", "warning")],
    )
    assert report.text().splitlines() == [
        "train               0 pairs   -",
        "1 fault",
        "  x is bad",
        "1 warning",
        "  y looks odd",
    ]
