"""Surfaces, clouds and starts from files: what is read, and what users are told of what cannot be."""

import json

import numpy as np
import pytest
import trimesh

from evaluation.surface_files import START_EXAMPLE, read_cloud, read_start, read_surface, start_to_json
from models.geometry.similarity import Similarity
from tests.models.geometry.bumpy_tube import TRUE, bumpy_tube
from util.errors import UserError
from util.pointcloud import write_ply

BALL = trimesh.creation.icosphere(2, radius=5)
POINTS = np.random.default_rng(0).normal(size=(30, 3))


@pytest.mark.parametrize("suffix", [".ply", ".obj", ".stl", ".PLY"])
def test_a_mesh_is_read_with_its_triangles(tmp_path, suffix):
    BALL.export(tmp_path / f"ball{suffix}", file_type=suffix[1:].lower())
    surface = read_surface(tmp_path / f"ball{suffix}", samples=2000)
    assert 2000 <= len(surface.points) <= 2000 + len(BALL.faces)
    centre, outside = surface.closest(np.array([[0.0, 0, 0], [7, 0, 0]])).distances
    assert centre == pytest.approx(5, abs=0.15)  # a ball of 320 triangles lies a little within
    assert outside == pytest.approx(2, abs=0.15)


def test_points_drawn_on_a_mesh_depend_on_the_seed_alone(tmp_path):
    BALL.export(tmp_path / "ball.ply")
    first, again, other = (read_surface(tmp_path / "ball.ply", 500, seed).points for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_several_objects_of_one_file_are_one_surface(tmp_path):
    trimesh.Scene([BALL, BALL.copy().apply_translation([40, 0, 0])]).export(tmp_path / "two.obj")
    surface = read_surface(tmp_path / "two.obj", samples=100)
    np.testing.assert_allclose(surface.closest(np.array([[7.0, 0, 0], [33, 0, 0]])).distances, 2, atol=0.15)


def test_a_cloud_is_taken_as_it_is(tmp_path):
    trimesh.PointCloud(POINTS).export(tmp_path / "cloud.ply")
    surface = read_surface(tmp_path / "cloud.ply", samples=5)
    assert surface.triangles is None
    np.testing.assert_allclose(surface.points, POINTS, atol=1e-6)
    np.testing.assert_allclose(read_cloud(tmp_path / "cloud.ply"), POINTS, atol=1e-6)


def test_clouds_that_this_program_writes_and_the_vertices_of_meshes_are_clouds(tmp_path):
    write_ply(tmp_path / "frame.ply", POINTS, np.zeros((30, 3), np.uint8))
    np.testing.assert_allclose(read_cloud(tmp_path / "frame.ply"), POINTS, atol=1e-6)
    vertices, faces = bumpy_tube(5, 6)
    trimesh.Trimesh(vertices, faces, process=False).export(tmp_path / "tube.ply")
    np.testing.assert_allclose(read_cloud(tmp_path / "tube.ply"), vertices, atol=1e-5)


def test_points_of_structure_from_motion_are_a_cloud(shared_data):
    points = read_cloud(shared_data / "sinus_sfm" / "structure.ply")
    assert points.shape == (570, 3)
    np.testing.assert_allclose(points[0], [-0.51611453, 0.59833932, 1.7286849], atol=1e-6)


@pytest.mark.parametrize("read", [read_surface, read_cloud])
def test_a_missing_file_or_one_of_another_kind_is_told(tmp_path, read):
    with pytest.raises(UserError, match=r"there is no file .*lost\.ply"):
        read(tmp_path / "lost.ply")
    with pytest.raises(UserError, match=r"mesh\.vtk: surfaces and clouds are \.ply, \.obj, \.stl files"):
        read(tmp_path / "mesh.vtk")


@pytest.mark.parametrize("suffix", [".ply", ".stl"])
@pytest.mark.parametrize("share", [0.3, 0.7])
def test_half_a_file_is_damaged(tmp_path, suffix, share):
    whole = BALL.export(file_type=suffix[1:])
    path = tmp_path / f"ball{suffix}"
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(UserError, match=rf"ball\{suffix} is damaged, or no \{suffix} file"):
        read_surface(path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("noise.ply", b"\x00\xff" * 100, "is damaged"),
        ("empty.ply", b"", "is damaged"),
        ("empty.obj", b"", "holds no points"),
        ("empty.stl", b"", "holds no points"),
        ("far.obj", b"v 0 0 0\nv nan 0 0\nv 0 1 0\nf 1 2 3\n", "no surface to register to: .* not finite"),
        ("line.obj", b"v 0 0 0\nv 1 0 0\nv 2 0 0\nf 1 2 3\n", "no surface to register to: .* no triangle with an area"),
    ],
)
def test_what_holds_no_surface_says_why(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message) as told:
        read_surface(tmp_path / name)
    assert name in str(told.value)


def test_a_cloud_needs_some_points_that_are_finite(tmp_path):
    trimesh.PointCloud(POINTS[:9]).export(tmp_path / "few.ply")
    with pytest.raises(UserError, match=r"few\.ply has 9 points; at least 10"):
        read_cloud(tmp_path / "few.ply")
    trimesh.PointCloud(np.where(np.arange(30)[:, None] == 4, np.inf, POINTS)).export(tmp_path / "far.ply")
    with pytest.raises(UserError, match=r"far\.ply has points that are not finite"):
        read_cloud(tmp_path / "far.ply")


def test_a_start_comes_back_as_it_was_written(tmp_path):
    path = tmp_path / "start.json"
    path.write_text(json.dumps(start_to_json(TRUE)))
    start = read_start(path)
    assert start.scale == TRUE.scale
    np.testing.assert_allclose(start.rotation, TRUE.rotation, atol=1e-12)
    np.testing.assert_array_equal(start.translation, TRUE.translation)


def test_the_example_of_a_start_is_one(tmp_path):
    path = tmp_path / "start.json"
    path.write_text(START_EXAMPLE)
    points = np.arange(6.0).reshape(2, 3)
    np.testing.assert_allclose(read_start(path).apply(points), points)


def test_a_rotation_that_was_rounded_becomes_one(tmp_path):
    path = tmp_path / "start.json"
    path.write_text(json.dumps(start_to_json(Similarity(2.0, TRUE.rotation.round(3), TRUE.translation))))
    rotation = read_start(path).rotation
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(rotation, TRUE.rotation, atol=1e-3)


GOOD = start_to_json(TRUE)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is no start"),
        ("[1, 2]", "is no start"),
        (json.dumps({"scale": 1, "rotation": GOOD["rotation"]}), r"is no start \(KeyError\('translation'\)\)"),
        (json.dumps(GOOD | {"scale": "large"}), "is no start"),
        (json.dumps(GOOD | {"rotation": [[1, 0], [0]]}), "is no start"),
        (json.dumps(GOOD | {"rotation": [[1, 0], [0, 1]]}), "rotation must be 3x3"),
        (json.dumps(GOOD | {"translation": [1, 2]}), "translation have 3 numbers"),
        (json.dumps(GOOD | {"scale": 0}), "the scale positive"),
        (json.dumps(GOOD | {"scale": -2}), "the scale positive"),
        (json.dumps(GOOD | {"translation": [1, 2, float("nan")]}), "must be finite"),
        (json.dumps(GOOD | {"rotation": np.diag([1, 1, -1]).tolist()}), "rotation is none"),
        (json.dumps(GOOD | {"rotation": np.diag([2, 2, 2]).tolist()}), "rotation is none"),
    ],
)
def test_what_is_no_start_says_why_and_shows_one(tmp_path, content, message):
    path = tmp_path / "start.json"
    path.write_text(content)
    with pytest.raises(UserError, match=message) as told:
        read_start(path)
    assert str(path) in str(told.value)


def test_a_missing_start_is_told(tmp_path):
    with pytest.raises(UserError, match=r"there is no .*start\.json; a start is written like \{\"scale\""):
        read_start(tmp_path / "start.json")
