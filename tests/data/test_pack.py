"""A packed data set gives what the files gave, is written whole, and goes on where it was broken off."""

import json
from argparse import Namespace

import numpy as np
import pytest
import torch

from data import pack as packing
from data.clips import VIEW_FILE, find_clips, write_clip_view
from data.formats import FolderFormat, PackedFormat, open_clips, open_format
from data.formats.packed import MM_PER_UNIT
from data.pack import main
from data.pairs_dataset import PairsDataset
from data.transforms import Preprocessing
from util.errors import UserError

SIZE = 16


@pytest.fixture
def run(tiny_set, tmp_path, capsys):
    """Pack the tiny set; returns the folder."""

    def run(*more, out="packed"):
        assert main([str(tiny_set), f"--size={SIZE}", f"--out={tmp_path / out}", *more]) == 0
        return tmp_path / out

    return run


@pytest.fixture
def small_shards(monkeypatch):
    """Two frames a shard."""
    monkeypatch.setattr(packing, "SHARD_BYTES", 2 * SIZE * SIZE * 3)


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.usefixtures("small_shards")
def test_samples_are_those_of_the_files_up_to_a_grey_level_and_8_micrometres(run, tiny_set):
    preprocessing = Preprocessing("resize", SIZE, SIZE)
    packed = PackedFormat(run())
    assert packed.phases() == FolderFormat(tiny_set).phases() == ["eval", "test", "train"]
    for phase in packed.phases():
        before, after = (PairsDataset(s, phase, preprocessing) for s in (FolderFormat(tiny_set), packed))
        assert [item.name for item in before.items] == [item.name for item in after.items]
        for index in range(len(before)):
            one, other = before[index, 7], after[index, 7]  # augmented alike
            assert (one["image"] - other["image"]).abs().max() <= 1 / 255 + 1e-6
            assert (one["depth_mm"] - other["depth_mm"]).abs().max() <= MM_PER_UNIT / 2 + 1e-5
            assert torch.equal(one["valid"], other["valid"])


@pytest.mark.usefixtures("small_shards")
def test_frames_lie_in_shards_of_equal_size(run):
    folder = run()
    assert sorted(path.name for path in (folder / "train").glob("*.json")) == ["00000.json", "00001.json", "00002.json"]
    assert np.load(folder / "train" / "00002.image.npy").shape == (2, SIZE, SIZE, 3)
    assert np.load(folder / "train" / "00002.depth.npy").dtype == np.uint16
    index = json.loads((folder / "packed.json").read_text())["phases"]
    assert index["train"] == {"shards": 3, "frames": 6, "depth": True}
    assert index["video_train"] == {"shards": 5, "frames": 9, "depth": False}


def test_clips_come_back_as_clips(run, tiny_set):
    packed = run()
    before, after = find_clips(tiny_set / "video_train"), open_clips(packed / "video_train")
    assert [(clip.name, len(clip)) for clip in after] == [(clip.name, len(clip)) for clip in before]
    preprocessing = Preprocessing("resize", SIZE, SIZE)
    for one, other in zip(before, after, strict=True):
        frame = torch.from_numpy(one.read(2, 1)[0]).permute(2, 0, 1) * 2 - 1
        expected = (preprocessing.resize({"image": frame})["image"] + 1) / 2
        assert np.abs(other.read(2, 1)[0] - expected.permute(1, 2, 0).numpy()).max() < 0.5 / 255 + 1e-6
        assert [path.name for path, _ in other.stats()] == [str(index) for index in range(*rows(other))]


def rows(clip):
    """Numbers of a clip's frames in their shard."""
    first = int(clip.files[0].name)
    return first, first + len(clip)


def test_what_the_clips_show_is_packed_at_their_size(run, tiny_set):
    first, second = find_clips(tiny_set / "video_train")[:2]
    view = np.ones(first.read(0, 1)[0].shape[:2], bool)
    view[: len(view) // 2] = False
    write_clip_view(first.place / VIEW_FILE, view)
    packed = {clip.name: clip for clip in open_clips(run() / "video_train")}
    assert packed[second.name].view() is None
    shown = packed[first.name].view()
    assert shown.shape == (SIZE, SIZE)
    assert (shown.any(axis=1) == (np.arange(SIZE) >= SIZE // 2)).all()
    (first.place / VIEW_FILE).unlink()
    assert all(clip.view() is None for clip in open_clips(run() / "video_train"))


def test_a_camera_beside_the_frames_of_a_clip_is_packed(run, tiny_set):
    clip = find_clips(tiny_set / "video_train")[0]
    height, width = clip.read(0, 1)[0].shape[:2]
    fields = {"width": width, "height": height, "fx": 2.0 * width, "fy": 2.0 * height, "cx": 5, "cy": 5}
    (clip.place / "intrinsics.json").write_text(json.dumps(fields))
    packed = {one.name: one for one in open_clips(run() / "video_train")}[clip.name]
    assert packed.camera.size == (SIZE, SIZE)
    np.testing.assert_allclose(np.diag(packed.camera.K)[:2], 2.0 * SIZE)


def test_a_folder_says_itself_that_it_is_packed(run, tiny_set):
    assert isinstance(open_format(Namespace(dataroot=run(), dataset="folder", depth_format="auto")), PackedFormat)
    assert isinstance(open_format(Namespace(dataroot=tiny_set, dataset="folder", depth_format="auto")), FolderFormat)


def test_camera_is_scaled_with_the_frames(run, tiny_set):
    fields = {"width": 28, "height": 20, "fx": 28, "fy": 20, "cx": 13.5, "cy": 9.5}
    (tiny_set / "train_A" / "intrinsics.json").write_text(json.dumps(fields))
    packed = PackedFormat(run())
    camera = packed.camera(packed.items("train")[3], (SIZE, SIZE))
    np.testing.assert_allclose(camera.K, [[16, 0, 7.5], [0, 16, 7.5], [0, 0, 1]])
    assert packed.camera(packed.items("test")[0], (SIZE, SIZE)) is None


def test_frames_of_several_sizes_stay_whole_in_shards_of_their_own(run, tiny_set, save):
    save(tiny_set / "train_A" / "0003.png", np.zeros((10, 12, 3)))
    save(tiny_set / "train_B" / "0003.png", np.full((10, 12), 77))
    packed = PackedFormat(run("--resize_or_crop=none"))
    assert json.loads((packed.root / "packed.json").read_text())["phases"]["train"]["shards"] == 3
    sizes = [packed.read_frame(item.image).shape[:2] for item in packed.items("train")]
    assert sizes == [(20, 28)] * 3 + [(10, 12)] + [(20, 28)] * 2
    depth = packed.read_depth_mm(packed.items("train")[3])
    np.testing.assert_allclose(depth, 77 / 255 * 200, atol=MM_PER_UNIT / 2)


# Broken off, changed, damaged


@pytest.mark.usefixtures("small_shards")
@pytest.mark.parametrize("shard", [0, 3, 9])
def test_what_was_broken_off_goes_on_and_ends_with_the_same_bytes(run, monkeypatch, tmp_path, shard):
    whole, count = contents(run(out="whole")), 0
    original = packing.write_shard

    def stop(folder, number, frames, key):
        nonlocal count
        count += 1
        if count == shard + 1:
            raise KeyboardInterrupt
        original(folder, number, frames, key)

    with monkeypatch.context() as patch:
        patch.setattr(packing, "write_shard", stop)
        with pytest.raises(KeyboardInterrupt):
            run()
    assert not (tmp_path / "packed" / "packed.json").exists()
    (tmp_path / "packed").mkdir(exist_ok=True)
    (tmp_path / "packed" / ".00000.image.77.partial.npy").touch()  # of a kill in the middle of a file
    written = []
    monkeypatch.setattr(packing, "write_shard", lambda *args: written.append(args[1]) or original(*args))
    assert contents(run()) == whole
    assert len(written) == 10 - shard  # none that was there already


@pytest.mark.usefixtures("small_shards")
def test_only_what_changed_is_packed_again(run, tiny_set, save, monkeypatch):
    run()
    save(tiny_set / "train_A" / "0002.png", np.full((20, 28, 3), 200))
    original, written = packing.write_shard, []
    monkeypatch.setattr(packing, "write_shard", lambda *args: written.append(args[0].name) or original(*args))
    packed = PackedFormat(run())
    assert written == ["train"]
    assert packed.read_frame(packed.items("train")[2].image).mean() == pytest.approx(200 / 255, abs=1e-3)


def test_a_changed_byte_and_a_lost_end_are_found(run, capsys):
    folder = run()
    assert main([str(folder), "--verify"]) == 0
    capsys.readouterr()
    image, depth = folder / "train" / "00000.image.npy", folder / "test" / "00000.depth.npy"
    content = bytearray(image.read_bytes())
    content[-5] ^= 1
    image.write_bytes(content)
    depth.write_bytes(depth.read_bytes()[:-8])
    packing.mapped_array.cache_clear()
    assert main([str(folder), "--verify"]) == 1
    said = capsys.readouterr().out
    assert f"{image} does not have its checksum" in said
    assert f"{depth} does not have its checksum" in said
    packed = PackedFormat(folder)
    with pytest.raises(UserError, match=r"00000\.depth\.npy cannot be read .*make it again"):
        packed.read_depth_mm(packed.items("test")[0])


def test_mistakes_are_named(run, tiny_set, tmp_path, capsys):
    with pytest.raises(UserError, match="is packed already"):
        main([str(run()), "--size=16", f"--out={tmp_path / 'again'}"])
    (tiny_set / "train_A" / "0001.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"0001\.png cannot be read"):
        run(out="other")
    (tmp_path / "packed" / "packed.json").write_text("{")
    with pytest.raises(UserError, match=r"packed\.json cannot be read .*pack the data set again"):
        PackedFormat(tmp_path / "packed").phases()
    with pytest.raises(SystemExit):
        main([str(tiny_set), "--size=0"])
    assert "--size 0: must be at least 1" in capsys.readouterr().err
