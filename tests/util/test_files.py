"""Files appear whole or not at all."""

import errno
import os
import time

import pytest

from util.files import atomic_path, remove_partial_files, remove_partial_files_of, sync, write_bytes, write_text


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_file_appears_when_the_block_ends_and_parents_are_made(tmp_path):
    path = tmp_path / "new" / "folder" / "a.png"
    with atomic_path(path) as temporary:
        temporary.write_bytes(b"new")
        assert not path.exists()
    assert path.read_bytes() == b"new"
    assert names(path.parent) == ["a.png"]


def test_the_temporary_name_keeps_the_suffix_and_is_hidden(tmp_path):
    with atomic_path(tmp_path / "a.b.npy") as temporary:
        temporary.touch()
        assert temporary.suffix == ".npy"
        assert temporary.name.startswith(".")
        assert temporary.parent == tmp_path


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_error_keeps_the_old_file_and_leaves_nothing_else(tmp_path, error):
    (tmp_path / "a.txt").write_text("old")

    def write_half():
        with atomic_path(tmp_path / "a.txt") as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        write_half()
    assert (tmp_path / "a.txt").read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_a_block_that_writes_nothing_is_an_error_and_keeps_the_old_file(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "a.txt"):
        pass
    assert (tmp_path / "a.txt").read_text() == "old"


def test_text_is_utf_8_and_bytes_are_themselves(tmp_path):
    write_text(tmp_path / "a.txt", "Tiefe in µm\n")
    write_bytes(tmp_path / "a.bin", b"\x00\xff")
    assert (tmp_path / "a.txt").read_bytes() == "Tiefe in µm\n".encode()
    assert (tmp_path / "a.bin").read_bytes() == b"\x00\xff"


def test_a_folder_that_is_a_file_is_an_error_of_the_system(tmp_path):
    (tmp_path / "a").touch()
    with pytest.raises(OSError, match="a"):
        write_text(tmp_path / "a" / "b.txt", "x")


def test_content_is_synced_before_the_rename_and_the_folder_after_it(tmp_path, monkeypatch):
    synced, fsync = [], os.fsync
    (tmp_path / "a.txt").write_text("old")

    def watched(descriptor):
        synced.append((os.path.realpath(f"/proc/self/fd/{descriptor}"), (tmp_path / "a.txt").read_text()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    with atomic_path(tmp_path / "a.txt") as temporary:
        temporary.write_text("new")
    assert synced == [(os.path.realpath(temporary), "old"), (os.path.realpath(tmp_path), "new")]


def test_file_system_that_cannot_sync_folders_is_taken_as_it_is(tmp_path, monkeypatch):
    def fail(descriptor):
        raise OSError(code, os.strerror(code))

    (tmp_path / "a.txt").touch()
    monkeypatch.setattr(os, "fsync", fail)
    code = errno.EINVAL
    sync(tmp_path)
    with pytest.raises(OSError, match="Invalid argument"):
        sync(tmp_path / "a.txt")
    code = errno.EIO
    with pytest.raises(OSError, match="Input/output error"):
        sync(tmp_path)


def test_the_file_that_does_not_fit_on_the_disk_is_named(tmp_path):
    """The error of a write to an open file does not name it."""
    with pytest.raises(OSError, match=r"No space left on device: '.*/a\.txt'"), atomic_path(tmp_path / "a.txt"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert names(tmp_path) == []


def test_what_killed_processes_left_is_removed_and_nothing_else(tmp_path):
    left = [".latest.77.partial.pth", "web/.image.png.1234.partial.png", ".opt.5.partial"]
    kept = ["latest.pth", ".hidden", "web/.partial.txt", "my.77.partial.pth", ".notes.partial.txt"]
    for name in left + kept:
        write_text(tmp_path / name, "x")
    remove_partial_files(tmp_path)
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()) == sorted(kept)


def test_what_was_written_to_a_moment_ago_may_stay(tmp_path):
    for name, age_s in ((".old.77.partial.npy", 100), (".young.78.partial.npy", 10)):
        write_text(tmp_path / name, "x")
        os.utime(tmp_path / name, times=(time.time() - age_s,) * 2)
    remove_partial_files(tmp_path, min_age_s=60)
    assert names(tmp_path) == [".young.78.partial.npy"]


def test_half_written_files_of_one_name_are_removed_alone(tmp_path):
    left = [".a[1].7.partial.json", ".a[1].88.partial.json"]
    kept = [".a1.7.partial.json", ".a[1].7.partial.txt", ".b.7.partial.json", "a[1].json"]
    for name in left + kept:
        (tmp_path / name).touch()
    remove_partial_files_of(tmp_path / "a[1].json")
    assert names(tmp_path) == sorted(kept)


def test_nothing_is_left_where_there_is_no_folder(tmp_path):
    remove_partial_files(tmp_path / "none")
    assert names(tmp_path) == []
