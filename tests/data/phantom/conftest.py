"""What several of the phantom's tests look at."""

import numpy as np
import pytest

from data.phantom.colon import Colon, random_colon
from data.phantom.plan import Task


@pytest.fixture(scope="session")
def colons() -> list[Colon]:
    """First colons of two splits."""
    return [random_colon(Task(split, 0, 1, seed=3).generators()[0]) for split in ("train", "video_test")]


@pytest.fixture(scope="session")
def directions() -> np.ndarray:
    """2000 random unit vectors."""
    vectors = np.random.default_rng(0).standard_normal((2000, 3))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
