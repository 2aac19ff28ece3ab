"""COLMAP's model in our conventions, worked out by hand."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from data.run_sfm.export import Model, good_points, read_reconstruction, to_clip
from data.run_sfm.frames import Frames
from data.sfm.clip import project_points
from util.errors import UserError
from util.intrinsics import Intrinsics

SIZE = (60, 80)
POSES = {  # world to camera, as COLMAP has it, by file and id
    ("00000012.png", 5): (Rotation.from_euler("xyz", [10, -5, 3], degrees=True), (0.1, 0.2, 0.3)),
    ("00000003.png", 9): (Rotation.from_euler("xyz", [-4, 8, 20], degrees=True), (-0.2, 0.0, 0.1)),
    ("00000007.png", 2): (Rotation.identity(), (0.0, 0.0, 0.0)),
}
POINTS = {7: (0.2, -0.1, 3.0), 4: (-0.3, 0.25, 2.5), 30: (0.0, 0.1, 4.0)}
TRACKS = {7: (9, 5, 2), 4: (5, 5, 9), 30: (2, 5, 9)}  # ids of images; 4 has two features of image 5


@pytest.fixture
def reconstruction():
    pycolmap = pytest.importorskip("pycolmap")
    made = pycolmap.Reconstruction()
    camera = pycolmap.Camera(
        camera_id=1, model="PINHOLE", width=SIZE[1], height=SIZE[0], params=[70.0, 75.0, 40.5, 29.5]
    )
    made.add_camera_with_trivial_rig(camera)
    for (name, key), (turn, shift) in POSES.items():
        features = [pycolmap.Point2D(np.array([float(at), 1.0])) for at in range(6)]
        image = pycolmap.Image(name=name, points2D=features, camera_id=1, image_id=key)
        pose = pycolmap.Rigid3d(pycolmap.Rotation3d(turn.as_quat()), np.array(shift))
        made.add_image_with_trivial_frame(image, pose)
    unused = dict.fromkeys((key for _, key in POSES), 0)
    for number, xyz in POINTS.items():
        track = pycolmap.Track()
        for image in TRACKS[number]:
            track.add_element(image, unused[image])
            unused[image] += 1
        point = pycolmap.Point3D(xyz=np.array(xyz), track=track, error=number / 10)
        made.add_point3D_with_id(number, point)
    return made


def test_views_come_in_the_order_of_their_names(reconstruction):
    assert read_reconstruction(reconstruction).names == ("00000003.png", "00000007.png", "00000012.png")


def test_the_centre_of_the_first_pixel_moves_to_0(reconstruction):
    np.testing.assert_allclose(read_reconstruction(reconstruction).K, [[70, 0, 40], [0, 75, 29], [0, 0, 1]])


def test_poses_turn_from_world_to_camera_into_camera_to_world(reconstruction):
    model = read_reconstruction(reconstruction)
    for name, pose in zip(model.names, model.poses, strict=True):
        turn, shift = next(stored for (file, _), stored in POSES.items() if file == name)
        for point in POINTS.values():
            in_camera = turn.apply(point) + shift
            np.testing.assert_allclose(pose[:3, :3] @ in_camera + pose[:3, 3], point, atol=1e-12)
        np.testing.assert_array_equal(pose[3], [0, 0, 0, 1])


def test_points_come_with_their_errors_and_the_set_of_their_frames(reconstruction):
    model = read_reconstruction(reconstruction)
    np.testing.assert_array_equal(model.points, [POINTS[4], POINTS[7], POINTS[30]])
    np.testing.assert_allclose(model.errors, [0.4, 0.7, 3.0])
    expected = [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 0), (2, 1), (2, 2)]
    np.testing.assert_array_equal(model.observations, expected)
    assert model.observations.dtype == np.int32


def test_a_point_projects_where_colmap_projects_it_less_half_a_pixel(reconstruction):
    model = read_reconstruction(reconstruction)
    for view, name in enumerate(model.names):
        image = reconstruction.find_image_with_name(name)
        in_camera = (np.array(POINTS[7]) - model.poses[view, :3, 3]) @ model.poses[view, :3, :3]
        theirs = image.project_point(np.array(POINTS[7]))
        np.testing.assert_allclose(project_points(in_camera, model.K), theirs - 0.5)


def hand_made(errors=(0.4, 0.7, 3.0, 1.0)) -> Model:
    observations = [(0, 0), (0, 1), (0, 2), (0, 3), (1, 1), (1, 2), (1, 3), (2, 0), (2, 1), (2, 2), (2, 3)]
    points = np.arange(12.0).reshape(4, 3)
    names = ("00000003.png", "00000007.jpg", "00000012.png")
    K = np.array([[70.0, 0, 40], [0, 75, 29], [0, 0, 1]])
    return Model(names, K, np.tile(np.eye(4), (3, 1, 1)), points, np.array(errors), np.array(observations, np.int32))


def test_points_of_two_frames_and_of_large_error_are_dropped_and_the_rest_renumbered():
    model = good_points(hand_made(), max_error_px=2.0)  # point 0 has two frames, point 2 an error of 3
    np.testing.assert_array_equal(model.points, [[3, 4, 5], [9, 10, 11]])
    np.testing.assert_array_equal(model.errors, [0.7, 1.0])
    np.testing.assert_array_equal(model.observations, [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)])


def test_a_point_at_the_very_limit_stays():
    np.testing.assert_array_equal(good_points(hand_made(), max_error_px=3.0).errors, [0.7, 3.0, 1.0])


def frames(folder) -> Frames:
    view = np.zeros(SIZE, bool)
    view[10:, 20:] = True
    names = [f"{number:08d}.png" for number in (3, 7, 9, 12)]
    camera = Intrinsics(np.eye(3), SIZE)
    return Frames("clip", folder, (3, 7, 9, 12), tuple(folder / name for name in names), camera, view)


def test_a_clip_has_the_registered_frames_and_a_mask_of_the_view(tmp_path):
    clip = to_clip(hand_made(), frames(tmp_path))
    assert clip.numbers.tolist() == [3, 7, 12]
    assert clip.frames == tuple(tmp_path / name for name in ("00000003.png", "00000007.jpg", "00000012.png"))
    assert clip.mask.dtype == np.uint8
    np.testing.assert_array_equal(clip.mask == 255, frames(tmp_path).view)
    np.testing.assert_array_equal(clip.camera.K, hand_made().K)


def test_a_model_of_too_few_points_is_no_clip(tmp_path):
    with pytest.raises(UserError, match="3 registered views and 1 points"):
        to_clip(good_points(hand_made(errors=(9, 9, 9, 1)), 4.0), frames(tmp_path))
