"""Where profiles live: `$MYOSEM_HOME/profiles/<name>/` with `current`, `previous` and `provisional`.

A new profile is provisional until it is accepted; accepting keeps the one before; undo exchanges the two. Each change
has one moment at which it happens, a rename to `current.profile`. Before it everything is as it was; after it, what is
left to do (the old one becomes the previous one) is done by whichever change comes next, from `replaced.profile`.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from myosem_edge.calibration.profile import MAX_BYTES, Profile
from myosem_edge.errors import InputError, ProfileError, StorageError
from myosem_edge.files import user_folder, write_atomic

Which = Literal["current", "previous", "provisional"]
WHICH: tuple[Which, ...] = ("current", "previous", "provisional")
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
MODE = 0o600  # how somebody's muscles look is theirs

_REPLACED = "replaced.profile"  # the current profile of before a change, while the change is under way
_LEFTOVERS = ".*.part"  # what a power cut leaves of a file that was being written


@dataclass(frozen=True)
class Store:
    """The profiles below one folder."""

    root: Path

    @classmethod
    def here(cls) -> Store:
        """The store of this user."""
        return cls(user_folder() / "profiles")

    def names(self) -> tuple[str, ...]:
        """Wearers who have a profile of any kind.

        Raises:
            StorageError: the folder cannot be read.
        """
        try:
            folders = [path for path in self.root.iterdir() if NAME.fullmatch(path.name)]
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise _cannot(error, self.root, "read") from error
        return tuple(sorted(path.name for path in folders if self.states(path.name)))

    def states(self, name: str) -> tuple[Which, ...]:
        """Which of the three profiles `name` has."""
        return tuple(which for which in WHICH if self.path(name, which).is_file())

    def path(self, name: str, which: Which | None = None) -> Path:
        """The folder of `name`, or one of its files, there or not.

        Raises:
            InputError: no name for a profile.
        """
        if not NAME.fullmatch(name):
            raise InputError(
                "not a name for a profile",
                found=ascii(name[:80]),
                expected="lower-case letters, digits, dot, dash or underscore, at most 63",
            )
        folder = self.root / name
        return folder if which is None else folder / f"{which}.profile"

    def load(
        self, name: str, which: Which = "current", *, note: Callable[[str], None] = lambda sentence: None
    ) -> Profile:
        """Read one profile; `note` is told every migration.

        Raises:
            ProfileError: there is none, or it is damaged.
        """
        path = self.path(name, which)
        return Profile.from_bytes(self._read(name, which), where=path, note=note)

    def save_provisional(self, name: str, profile: Profile) -> Path:
        """Keep a new profile beside the current one, which stays in use; an earlier provisional one is replaced.

        Raises:
            ProfileError: the profile holds what could not be read back.
            StorageError: it cannot be written; everything is as it was.
        """
        data, path = profile.to_bytes(), self.path(name, "provisional")
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise _cannot(error, path.parent, "written") from error
        with self._changing(name):
            write_atomic(path, data, mode=MODE)
        return path

    def accept(self, name: str) -> Path:
        """The provisional profile becomes the current one, and the current one the previous one.

        Raises:
            ProfileError: there is no provisional profile, or it is damaged.
            StorageError: it cannot be written.
        """
        with self._changing(name):
            self.load(name, "provisional")
            self._keep_replaced(name)
            self._move(self.path(name, "provisional"), self.path(name, "current"))
            self._settle(name)
        return self.path(name, "current")

    def reject(self, name: str) -> None:
        """Forget the provisional profile.

        Raises:
            ProfileError: there is none.
            StorageError: it cannot be removed.
        """
        with self._changing(name):
            self._read(name, "provisional")
            self._remove(self.path(name, "provisional"))

    def undo(self, name: str) -> Path:
        """Exchange current and previous; a second undo takes the first one back.

        Raises:
            ProfileError: there is no previous profile, or it is damaged.
            StorageError: it cannot be written.
        """
        with self._changing(name):
            self.load(name, "previous")
            data = self._read(name, "previous")
            self._keep_replaced(name)
            write_atomic(self.path(name, "current"), data, mode=MODE)
            self._settle(name)
        return self.path(name, "current")

    def remove(self, name: str) -> None:
        """Forget everything about `name`.

        Raises:
            ProfileError: there is nothing.
            StorageError: it cannot be removed, or the folder holds files that are not ours.
        """
        folder = self.path(name)
        with self._changing(name):
            for path in (self.path(name, "provisional"), self.path(name, "previous"), self.path(name, "current")):
                self._remove(path)
            try:
                folder.rmdir()
            except OSError as error:
                raise _cannot(error, folder, "removed") from error

    def _read(self, name: str, which: Which) -> bytes:
        path = self.path(name, which)
        try:
            with path.open("rb") as file:
                return file.read(MAX_BYTES + 1)
        except (FileNotFoundError, NotADirectoryError):
            raise self._missing(name, which) from None
        except OSError as error:
            raise ProfileError(f"cannot be read: {error.strerror}", where=path) from error

    def _missing(self, name: str, which: Which) -> ProfileError:
        states = self.states(name)
        if not states:
            known = ", ".join(self.names()) or "none"
            return ProfileError(
                f"there is no profile called {name}",
                where=self.root,
                found=f"profiles: {known}",
                todo=f"Make one: myosem-edge calibrate --profile {name}",
            )
        todo = None
        if which == "current" and "provisional" in states:
            todo = f"Accept the new one: myosem-edge profile accept {name}"
        elif which == "provisional":
            todo = f"Calibrate first: myosem-edge calibrate --profile {name}"
        return ProfileError(f"there is no {which} profile", where=self.path(name), found=", ".join(states), todo=todo)

    @contextlib.contextmanager
    def _changing(self, name: str) -> Iterator[None]:
        """One change at a time, and what an earlier one left undone comes first."""
        folder = self.path(name)
        try:
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except (FileNotFoundError, NotADirectoryError):
            raise self._missing(name, "current") from None
        except OSError as error:
            raise _cannot(error, folder, "changed") from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            for path in sorted(folder.glob(_LEFTOVERS)):
                self._remove(path)
            self._settle(name)
            yield
        finally:
            os.close(handle)

    def _keep_replaced(self, name: str) -> None:
        if self.path(name, "current").exists():
            write_atomic(self.path(name) / _REPLACED, self._read(name, "current"), mode=MODE)

    def _settle(self, name: str) -> None:
        """Finish or forget a change: what was replaced is the previous profile if the current one is another now."""
        replaced = self.path(name) / _REPLACED
        if not replaced.exists():
            return
        if self.path(name, "current").exists() and replaced.read_bytes() != self._read(name, "current"):
            self._move(replaced, self.path(name, "previous"))
        else:
            self._remove(replaced)

    def _move(self, source: Path, target: Path) -> None:
        try:
            source.replace(target)
            _sync(target.parent)
        except OSError as error:
            raise _cannot(error, target, "written") from error

    def _remove(self, path: Path) -> None:
        try:
            path.unlink(missing_ok=True)
            _sync(path.parent)
        except OSError as error:
            raise _cannot(error, path, "removed") from error


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _cannot(error: OSError, path: Path, done: str) -> StorageError:
    return StorageError(f"cannot be {done}: {error.strerror}", where=path, todo="Check its owner and the free space")
