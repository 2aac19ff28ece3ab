import json

import numpy as np
import pytest
import trimesh
from scipy.spatial import cKDTree

from data.clip_truth import ClipTruth
from data.clips import find_clips
from data.phantom.render import render_phantom
from data.phantom.surfaces import write_surfaces
from util.errors import UserError
from util.intrinsics import read_intrinsics
from util.pointcloud import depth_to_points


@pytest.fixture
def rendered(tmp_path):
    render_phantom(tmp_path / "phantom", 1, 48, 0, workers=1)
    return tmp_path / "phantom"


def test_true_depth_lies_on_the_surface_of_its_clip(rendered):
    """Back-projected and moved by the clip's own pose; only the mesh's triangles and the 16-bit depth round."""
    (file,) = write_surfaces(rendered, "video_test")
    clip = find_clips(rendered / "video_test")[0]
    truth = ClipTruth(rendered, "video_test", clip)
    K = read_intrinsics(clip.place / "intrinsics.json").K
    depth = truth.depth_mm(2)
    points, _ = depth_to_points(depth, K, np.zeros((*depth.shape, 3), np.uint8))
    pose = truth.poses()[2]
    world = points @ pose[:3, :3].T + pose[:3, 3]
    mesh = trimesh.load(file)
    samples, _ = trimesh.sample.sample_surface(mesh, 400_000, seed=0)
    distances, _ = cKDTree(samples).query(world)
    assert np.median(distances) < 0.35  # between samples
    assert np.median(cKDTree(samples).query(points)[0]) > 5 * 0.35  # without the pose


def test_what_is_no_phantom_is_refused(tmp_path):
    with pytest.raises(UserError, match="only a rendered phantom has surfaces"):
        write_surfaces(tmp_path, "video_test")


def test_colons_of_another_version_are_refused(tmp_path):
    (tmp_path / "phantom.json").write_text(json.dumps({"version": 0, "frames": 8, "seed": 0}))
    with pytest.raises(UserError, match="of version 0 of the generator"):
        write_surfaces(tmp_path, "video_test")
