"""Rigid motions from angles and vectors: order, signs, and the way back."""

import math

import pytest
import torch

from models.geometry.camera import transform
from models.geometry.motion import (
    compose,
    inverse_motion,
    motion_from_rotation,
    motion_from_vector,
    rotation_from_angles,
)

DOUBLE = torch.float64
ANGLES = torch.tensor([[0.3, -0.2, 0.5], [-1.0, 0.4, 2.0]], dtype=DOUBLE)


def about(axis: int, angle: float) -> torch.Tensor:
    """Right-handed turn about x (0), y (1) or z (2)."""
    matrix = torch.eye(3, dtype=DOUBLE)
    first, second = ((1, 2), (2, 0), (0, 1))[axis]
    matrix[first, first] = matrix[second, second] = math.cos(angle)
    matrix[second, first], matrix[first, second] = math.sin(angle), -math.sin(angle)
    return matrix


def test_rotation_is_about_x_outermost_then_y_then_z():
    for angles, rotation in zip(ANGLES.tolist(), rotation_from_angles(ANGLES), strict=True):
        torch.testing.assert_close(rotation, about(0, angles[0]) @ about(1, angles[1]) @ about(2, angles[2]))


def test_a_quarter_turn_about_z_takes_x_to_y():
    rotation = rotation_from_angles(torch.tensor([0.0, 0.0, math.pi / 2], dtype=DOUBLE))
    torch.testing.assert_close(
        rotation @ torch.tensor([1.0, 0, 0], dtype=DOUBLE), torch.tensor([0.0, 1, 0], dtype=DOUBLE)
    )


def test_rotations_are_orthonormal_and_right_handed():
    rotation = rotation_from_angles(torch.randn(50, 3, dtype=DOUBLE, generator=torch.Generator().manual_seed(0)) * 3)
    torch.testing.assert_close(rotation @ rotation.mT, torch.eye(3, dtype=DOUBLE).expand(50, 3, 3))
    torch.testing.assert_close(torch.linalg.det(rotation), torch.ones(50, dtype=DOUBLE))


def test_vector_is_translation_first_then_angles():
    motion = motion_from_vector(torch.cat((torch.tensor([[1.0, 2, 3], [4, 5, 6]], dtype=DOUBLE), ANGLES), dim=1))
    torch.testing.assert_close(motion[:, :3, :3], rotation_from_angles(ANGLES))
    assert motion[:, :3, 3].tolist() == [[1, 2, 3], [4, 5, 6]]
    assert motion[:, 3].tolist() == [[0, 0, 0, 1]] * 2


def test_zero_vector_is_the_identity_and_differentiable():
    vector = torch.zeros(1, 6, dtype=DOUBLE, requires_grad=True)
    motion = motion_from_vector(vector)
    assert torch.equal(motion[0], torch.eye(4, dtype=DOUBLE))
    assert torch.autograd.gradcheck(motion_from_vector, (vector,))
    assert torch.autograd.gradcheck(rotation_from_angles, (ANGLES.clone().requires_grad_(),))


def test_motions_compose_from_right_to_left_and_their_inverse_leads_back():
    first, second = (motion_from_vector(torch.randn(2, 6, dtype=DOUBLE)) for _ in range(2))
    points = torch.randn(2, 3, 7, dtype=DOUBLE)
    torch.testing.assert_close(transform(points, compose(second, first)), transform(transform(points, first), second))
    torch.testing.assert_close(transform(transform(points, first), inverse_motion(first)), points)


def test_motion_of_a_rotation_does_not_move():
    rotation = rotation_from_angles(ANGLES)
    motion = motion_from_rotation(rotation)
    assert torch.equal(motion[:, :3, :3], rotation)
    assert not motion[:, :3, 3].any()


def test_small_angles_are_not_rounded_under_autocast():
    vector = torch.tensor([[0.001, 0.002, 0.003, 1e-4, 2e-4, 3e-4]])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        motion = motion_from_vector(vector)
        assert (motion - motion_from_vector(vector.double())).abs().max() < 1e-7
        assert compose(motion, motion).dtype == torch.float32


@pytest.mark.parametrize("function", [rotation_from_angles, motion_from_vector])
def test_wrong_number_of_values_is_an_error(function):
    with pytest.raises(ValueError, match=r"must be \(\.\.\., [36]\), got \(2, 4\)"):
        function(torch.zeros(2, 4))
