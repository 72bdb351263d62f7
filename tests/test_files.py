"""Writing a file: afterwards there is the old one or the new one, never a part, whatever fails in between."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from myosem_edge import files as files_module
from myosem_edge.errors import InputError, StorageError
from myosem_edge.files import require_writable, user_folder, write_atomic, write_folder


@given(old=st.binary(max_size=100), new=st.binary(max_size=100))
def test_the_new_contents_replace_the_old(tmp_path_factory: pytest.TempPathFactory, old: bytes, new: bytes) -> None:
    path = tmp_path_factory.mktemp("files") / "a.bin"
    write_atomic(path, old)
    write_atomic(path, new)
    assert path.read_bytes() == new
    assert list(path.parent.iterdir()) == [path]


def test_folders_are_made_and_text_paths_taken(tmp_path: Path) -> None:
    write_atomic(str(tmp_path / "a" / "b" / "c.bin"), b"x")
    assert (tmp_path / "a" / "b" / "c.bin").read_bytes() == b"x"


@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_the_mode_is_what_was_asked_whatever_the_mask(tmp_path: Path, mode: int) -> None:
    old_mask = os.umask(0o077)
    try:
        write_atomic(tmp_path / "a", b"x", mode=mode)
    finally:
        os.umask(old_mask)
    assert (tmp_path / "a").stat().st_mode & 0o777 == mode


def failing(number: int) -> Callable[..., None]:
    def fail(*_args: object, **_kwargs: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize("step", ["fsync", "fchmod", "replace", "fdopen"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_a_failure_at_any_step_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, number: int
) -> None:
    path = tmp_path / "a"
    write_atomic(path, b"old")
    monkeypatch.setattr(os, step, failing(number))
    with pytest.raises(StorageError) as caught:
        write_atomic(path, b"new")
    monkeypatch.undo()
    assert os.strerror(number) in str(caught.value)
    assert str(path) in str(caught.value)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_interrupted_by_hand_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    write_atomic(path, b"old")

    def interrupt(handle: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_data_is_on_the_disk_before_the_name_points_at_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    sync, rename = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (order.append("sync"), sync(handle)))
    monkeypatch.setattr(os, "replace", lambda old, new: (order.append("rename"), rename(old, new)))
    write_atomic(tmp_path / "a", b"x")
    assert order == ["sync", "rename", "sync"]  # the file, its name, the folder that holds the name


def test_a_real_write_that_hits_a_limit_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_atomic(path, b"old")
    program = (
        "import resource, sys\n"
        "from myosem_edge.errors import StorageError\nfrom myosem_edge.files import write_atomic\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try:\n    write_atomic(sys.argv[1], bytes(5000))\nexcept StorageError:\n    sys.exit(8)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, check=False)
    assert done.returncode == 8, done.stderr
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"")
    with pytest.raises(StorageError, match="cannot be written"):
        write_atomic(tmp_path / "a" / "b", b"x")


def test_a_folder_where_the_file_should_be(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(StorageError, match="cannot be written"):
        write_atomic(tmp_path / "a", b"x")
    assert list(tmp_path.iterdir()) == [tmp_path / "a"]


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"MYOSEM_HOME": "/a", "XDG_DATA_HOME": "/b", "HOME": "/c"}, "/a"),
        ({"XDG_DATA_HOME": "/b", "HOME": "/c"}, "/b/myosem-edge"),
        ({"MYOSEM_HOME": "", "XDG_DATA_HOME": "", "HOME": "/c"}, "/c/.local/share/myosem-edge"),
    ],
)
def test_where_a_users_files_live(environment: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MYOSEM_HOME", "XDG_DATA_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert user_folder() == Path(expected)


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MYOSEM_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)

    def nobody() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", nobody)
    with pytest.raises(StorageError, match=r"no home folder\. Set MYOSEM_HOME"):
        user_folder()


def test_asking_whether_a_file_can_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(b"old")
    for name in ("old", "new"):
        require_writable(tmp_path / name)
    assert list(tmp_path.iterdir()) == [tmp_path / "old"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [("folder", "is a folder"), ("file/new", "cannot be written: Not a directory"), ("absent/new", "No such file")],
)
def test_where_no_file_can_be_written_is_said(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match=reason) as caught:
        require_writable(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.ENOSPC])
def test_a_folder_that_takes_no_file_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    monkeypatch.setattr(os, "open", failing(number))
    with pytest.raises(StorageError, match=os.strerror(number)):
        require_writable(tmp_path / "a")


def test_a_folder_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"a": b"1", "deep/b": b"2"}
    calls = 0
    write = files_module.write_atomic

    def interrupted(path: Path, data: bytes) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyboardInterrupt
        write(path, data)

    monkeypatch.setattr(files_module, "write_atomic", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_folder(tmp_path / "new", files)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    (tmp_path / "new").mkdir()
    write_folder(tmp_path / "new", files)
    found = {str(p.relative_to(tmp_path / "new")): p.read_bytes() for p in (tmp_path / "new").rglob("*") if p.is_file()}
    assert found == files
    with pytest.raises(InputError, match="is there already"):
        write_folder(tmp_path / "new", files)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="is there already"):
        write_folder(tmp_path / "file", files)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "new"]
