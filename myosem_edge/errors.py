"""Every error a user can meet, and the exit code of each.

MyosemError (1)
├── InputError (3)      a recording, configuration, catalogue or argument value is wrong
├── BundleError (4)     a bundle is missing, corrupt, foreign, unsigned or too old
├── ProfileError (5)    a wearer's profile is missing, damaged or made for another bundle or montage
├── DeviceError (6)     a front end or hand cannot be opened, is silent, or speaks another protocol
├── RefusedError (7)    everything is readable, but a limit or a safety rule says no
└── StorageError (8)    a file cannot be written: disk full, permission, read-only

Exit code 2 is click's (wrong usage), 130 is Ctrl-C, 0 is success, and 1 is a defect of ours.
"""

from __future__ import annotations


class MyosemError(Exception):
    """Something the user can put right. Says what, where, what was found, what was expected, and what to do."""

    exit_code = 1

    def __init__(
        self,
        what: str,
        *,
        where: object = None,
        found: object = None,
        expected: object = None,
        todo: str | None = None,
    ) -> None:
        self.what, self.where, self.found, self.expected, self.todo = what, where, found, expected, todo
        text = f"{where}: {what}" if where is not None else what
        facts = [f"{name} {value}" for name, value in (("found", found), ("expected", expected)) if value is not None]
        if facts:
            text += f" ({', '.join(facts)})"
        if todo:
            text += f". {todo}"
        super().__init__(text)


class InputError(MyosemError):
    """A recording, configuration, catalogue or argument value is wrong."""

    exit_code = 3


class BundleError(MyosemError):
    """A bundle is missing, corrupt, foreign, unsigned or too old."""

    exit_code = 4


class ProfileError(MyosemError):
    """A wearer's profile is missing, damaged, or made for another bundle or montage."""

    exit_code = 5


class DeviceError(MyosemError):
    """A front end or hand cannot be opened, is silent, or speaks another protocol."""

    exit_code = 6


class RefusedError(MyosemError):
    """Everything is readable, but a limit or a safety rule says no."""

    exit_code = 7


class StorageError(MyosemError):
    """A file cannot be written: disk full, no permission, read-only."""

    exit_code = 8
