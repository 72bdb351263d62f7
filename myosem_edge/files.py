"""The one way this project writes a file, and where a user's files live."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from myosem_edge.errors import InputError, StorageError


def write_atomic(path: Path | str, data: bytes, *, mode: int = 0o644) -> None:
    """Write `data` so that a reader, a full disk or a power cut meets the old file or the new one, never a part.

    Temporary file in the same folder, flush, fsync, rename, fsync of the folder.

    Raises:
        StorageError: the folder or the file cannot be written; what was there before is untouched.
    """
    path = Path(path)
    _require_replaceable(path)
    temporary: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        _settle(Path(temporary), path)
        temporary = None
    except OSError as error:
        raise StorageError(
            f"cannot be written: {error.strerror}", where=path, todo="Free some space or choose another place"
        ) from error
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)


@contextmanager
def replacing(path: Path | str, *, mode: int = 0o644) -> Iterator[Path]:
    """A file too large for memory: the body writes the temporary file that is yielded, which then becomes `path`.

    As `write_atomic`: whatever happens, `path` is the old file or the new one. Its name ends in `.part` until then.

    Raises:
        StorageError: the folder or the file cannot be written; what was there before is untouched.
    """
    path = Path(path)
    _require_replaceable(path)
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        with temporary.open("rb") as file:
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        _settle(temporary, path)
        temporary = None
    except OSError as error:
        raise StorageError(
            f"cannot be written: {error.strerror or error}", where=path, todo="Free some space or choose another place"
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_folder(path: Path | str, files: Mapping[str, bytes]) -> None:
    """A new folder with all of `files` by name within it, or none: it is filled under another name and then moved.

    Raises:
        InputError: something is there already that is not an empty folder.
        StorageError: the folder cannot be written.
    """
    path = Path(path)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise InputError(
            "is there already", where=path, expected="a new or an empty folder", todo="Choose another --out"
        )
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent))
        temporary.chmod(0o755)
        for name, data in files.items():
            write_atomic(temporary / name, data)
        if path.exists():
            path.rmdir()
        _settle(temporary, path)
        temporary = None
    except OSError as error:
        raise StorageError(
            f"cannot be written: {error.strerror}", where=path, todo="Free some space or choose another place"
        ) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def _require_replaceable(path: Path) -> None:
    """A device or a pipe must not become a file; what a folder is told comes from the rename."""
    if path.exists() and not path.is_file() and not path.is_dir():
        raise StorageError("is no file that could be replaced", where=path, todo="Choose the name of a file")


def _settle(temporary: Path, path: Path) -> None:
    """Give a finished file its name, and have the folder remember it through a power cut."""
    temporary.replace(path)
    settle_folder(path.parent)


def settle_folder(path: Path) -> None:
    """Have a folder remember through a power cut which names it holds. Raises OSError."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def require_writable(path: Path | str) -> None:
    """Find out before the work whether its result can be kept: a nameless file is opened in the folder of `path`.

    Raises:
        StorageError: the folder is missing or cannot be written, or `path` is itself a folder.
    """
    path = Path(path)
    try:
        if path.is_dir():
            raise StorageError("is a folder", where=path, expected="the name of a file")
        _require_replaceable(path)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise StorageError(
            f"cannot be written: {error.strerror}", where=path, todo="Choose another place, or create its folder"
        ) from error


def user_folder() -> Path:
    """Where keys, profiles and logs live: `$MYOSEM_HOME`, else the XDG data folder.

    Raises:
        StorageError: neither is named, and this user has no home folder.
    """
    if home := os.environ.get("MYOSEM_HOME"):
        return Path(home)
    if data_home := os.environ.get("XDG_DATA_HOME"):
        return Path(data_home) / "myosem-edge"
    try:
        return Path.home() / ".local" / "share" / "myosem-edge"
    except RuntimeError as error:  # neither HOME nor an entry in the list of users: a container, a service
        raise StorageError("no home folder", todo="Set MYOSEM_HOME") from error
