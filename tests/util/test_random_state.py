"""States of the generators that a run draws from."""

import random

import numpy as np
import torch

from util.random_state import random_state, seed_everything, set_random_state


def test_random_states_go_round():
    def draw():
        return random.random(), np.random.rand(), torch.rand(1).item()  # noqa: NPY002

    draw()
    state = random_state()
    first = draw()
    assert draw() != first
    set_random_state(state)
    assert draw() == first


def test_random_states_survive_a_file_that_runs_no_code(tmp_path):
    torch.save(random_state(), tmp_path / "random.pth")
    expected = (random.random(), np.random.rand(), torch.rand(1).item())  # noqa: NPY002
    set_random_state(torch.load(tmp_path / "random.pth", weights_only=True))
    assert (random.random(), np.random.rand(), torch.rand(1).item()) == expected  # noqa: NPY002


def test_seed_gives_the_same_numbers_again_from_every_generator():
    def draw():
        return random.random(), np.random.rand(), torch.rand(1).item()  # noqa: NPY002

    seed_everything(3)
    first = draw()
    assert draw() != first
    seed_everything(3)
    assert draw() == first
