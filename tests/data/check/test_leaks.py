"""The same picture or sequence in two splits."""

from pathlib import Path

import cv2
import numpy as np

from data.check.findings import WARNING, Finding
from data.check.frames import FrameFacts, fingerprint
from data.check.leaks import BITS, distances, duplicates_across, shared_sequences
from data.formats import Item


def picture(seed):
    """A smooth scene, as endoscopes see them."""
    noise = np.random.default_rng(seed).random((60, 80, 3)).astype(np.float32)
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 6), None, 0, 1, cv2.NORM_MINMAX)


def facts(name, rgb):
    item = Item(name, Path(f"{name}.png"), Path(f"{name}_depth.png"))
    return FrameFacts(item, rgb.shape[:2], (1.0, 2.0, 3.0), 0.0, 50, np.zeros(3), fingerprint(rgb))


def compressed(rgb, quality=60):
    _, content = cv2.imencode(".jpg", (rgb * 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, quality])
    return cv2.imdecode(content, cv2.IMREAD_COLOR).astype(np.float32) / 255


def test_a_picture_is_found_again_when_it_was_compressed_or_resized():
    original = picture(0)
    small = cv2.resize(original, (48, 36), interpolation=cv2.INTER_AREA)
    for changed in (original, compressed(original), small):
        (found,) = duplicates_across({"train": [facts("a", original)], "test": [facts("b", changed)]})
        assert str(found).startswith("b.png of test is almost the same picture as a.png of train; take whole sequences")


def test_other_pictures_and_mirrored_ones_are_no_duplicates():
    train = [facts(f"a{seed}", picture(seed)) for seed in range(20)]
    test = [facts(f"b{seed}", picture(100 + seed)) for seed in range(20)]
    test.append(facts("mirrored", picture(0)[:, ::-1]))
    assert list(duplicates_across({"train": train, "test": test})) == []


def test_duplicates_within_a_split_are_its_own_business():
    assert list(duplicates_across({"train": [facts("a", picture(0)), facts("b", picture(0))], "test": []})) == []


def test_distance_is_the_number_of_bits_that_differ():
    assert BITS[[0, 1, 3, 255]].tolist() == [0, 1, 2, 8]
    first, second = np.array([[0, 255], [1, 1]], np.uint8), np.array([[0, 255], [255, 0], [1, 3]], np.uint8)
    assert distances(first, second).tolist() == [[0, 16, 7], [8, 8, 1]]
    many = np.random.default_rng(0).integers(0, 256, (600, 32), np.uint8)
    assert (distances(many, many[:5]).argmin(axis=0) == np.arange(5)).all()


def test_sequences_count_by_names_that_say_something():
    sequences = {"train": {"T3_L1_1", "frame", "0000", "a"}, "eval": {"0000", "frame"}, "test": {"T3_L1_1", "frame"}}
    found = [finding for finding in shared_sequences(sequences) if finding.level != WARNING]
    assert found == [Finding("leak", "the sequence T3_L1_1", "is in train and in test", found[0].fix)]


def test_one_camera_path_of_ucl_in_two_splits_is_a_warning_whatever_its_texture():
    sequences = {"train": {"T1_L1_1_resized_FrameBuffer", "T1_L1_2"}, "eval": {"T3_L2_4"}, "test": {"T2_L3_1"}}
    (found,) = shared_sequences(sequences)
    assert (found.level, found.place) == (WARNING, "camera path 1 of UCL's colons")
    assert "is in train and in test: the same surface" in found.what
