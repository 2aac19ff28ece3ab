"""Loader processes: how they begin."""

import os
import signal

import cv2
import numpy as np
import pytest
import torch

from data.loading import begin_loader


@pytest.fixture
def busy_opencv():
    """OpenCV's threads have been used in this process, as when flow was computed before training."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(4)
    optical_flow()
    yield
    cv2.setNumThreads(before)


def optical_flow():
    picture = np.random.default_rng(0).integers(0, 256, (128, 128), np.uint8)
    cv2.DISOpticalFlow_create(1).calc(picture, np.roll(picture, 1, axis=1), None)


def test_a_loader_works_with_one_thread_although_opencv_had_several_before(busy_opencv):
    """``cv2.setNumThreads(1)`` in it hangs, or ends in a segmentation fault."""
    child = os.fork()
    if child == 0:
        signal.alarm(20)  # ends it if it hangs
        begin_loader(0)
        optical_flow()
        os._exit(7 if cv2.getNumThreads() == torch.get_num_threads() == 1 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
