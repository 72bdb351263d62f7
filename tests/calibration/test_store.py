"""Profiles on disk: provisional until accepted, the one before kept, and consistent wherever the power is cut."""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from myosem_edge.calibration.profile import Profile
from myosem_edge.calibration.store import WHICH, Store, Which
from myosem_edge.errors import InputError, ProfileError, StorageError

CUT = 75  # exit code of a child that lost its power
# What changes a file system, as the interpreter announces it before doing it.
CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate"}

Operation = Callable[[Store, Profile], object]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "profiles")


def named(profile: Profile, notes: str) -> Profile:
    return replace(profile, notes=notes)


def contents(store: Store, name: str = "ada") -> dict[str, str]:
    """The notes of each profile that is there; fails if one is not whole."""
    return {which: store.load(name, which).notes for which in store.states(name)}


def fill(store: Store, profile: Profile, **kinds: str) -> None:
    """Put profiles in place by the store's own verbs: previous, current, provisional."""
    for which in ("previous", "current"):
        if which in kinds:
            store.save_provisional("ada", named(profile, kinds[which]))
            store.accept("ada")
    if "provisional" in kinds:
        store.save_provisional("ada", named(profile, kinds["provisional"]))


def test_a_new_profile_is_provisional_and_the_current_one_stays(store: Store, profile: Profile) -> None:
    fill(store, profile, current="a", provisional="b")
    assert contents(store) == {"current": "a", "provisional": "b"}
    assert store.load("ada").notes == "a"


@pytest.mark.sr("SR-16")
def test_nothing_is_current_before_it_is_accepted(store: Store, profile: Profile) -> None:
    fill(store, profile, provisional="a")
    with pytest.raises(ProfileError, match=r"there is no current profile .*myosem-edge profile accept ada"):
        store.load("ada")
    store.accept("ada")
    assert contents(store) == {"current": "a"}


def test_accepting_keeps_the_one_before(store: Store, profile: Profile) -> None:
    fill(store, profile, previous="a", current="b", provisional="c")
    assert store.accept("ada") == store.path("ada", "current")
    assert contents(store) == {"previous": "b", "current": "c"}


def test_rejecting_forgets_only_the_provisional_one(store: Store, profile: Profile) -> None:
    fill(store, profile, current="a", provisional="b")
    store.reject("ada")
    assert contents(store) == {"current": "a"}


@pytest.mark.sr("SR-16")
def test_undo_goes_back_and_a_second_undo_forth(store: Store, profile: Profile) -> None:
    fill(store, profile, previous="a", current="b", provisional="c")
    store.undo("ada")
    assert contents(store) == {"previous": "b", "current": "a", "provisional": "c"}
    store.undo("ada")
    assert contents(store) == {"previous": "a", "current": "b", "provisional": "c"}


def test_undo_leaves_a_damaged_profile_behind(store: Store, profile: Profile) -> None:
    fill(store, profile, previous="a", current="b")
    store.path("ada", "current").write_bytes(b"rubbish")
    store.undo("ada")
    assert store.load("ada").notes == "a"


def test_removing_forgets_everything(store: Store, profile: Profile) -> None:
    fill(store, profile, previous="a", current="b", provisional="c")
    store.remove("ada")
    assert store.names() == ()
    assert list(store.root.iterdir()) == []


def test_removing_leaves_what_is_not_ours(store: Store, profile: Profile) -> None:
    fill(store, profile, current="a")
    (store.path("ada") / "diary.txt").write_text("mine")
    with pytest.raises(StorageError, match="cannot be removed: Directory not empty"):
        store.remove("ada")
    assert (store.path("ada") / "diary.txt").read_text() == "mine"


def test_names_are_those_of_wearers_with_a_profile(store: Store, profile: Profile) -> None:
    assert store.names() == ()
    store.save_provisional("bo", profile)
    fill(store, profile, current="a")
    (store.root / "empty").mkdir()
    (store.root / "Not A Name").mkdir()
    assert store.names() == ("ada", "bo")


def test_the_store_of_this_user_is_in_its_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MYOSEM_HOME", str(tmp_path))
    assert Store.here().path("ada", "current") == tmp_path / "profiles" / "ada" / "current.profile"


def test_profiles_are_private(store: Store, profile: Profile) -> None:
    fill(store, profile, previous="a", current="b", provisional="c")
    assert {stat.S_IMODE(path.stat().st_mode) for path in store.path("ada").iterdir()} == {0o600}
    assert stat.S_IMODE(store.path("ada").stat().st_mode) == 0o700


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "Ada", "-x", "a" * 64, "ä", "a\0", "a\n"])
def test_a_name_that_is_no_name_is_refused(store: Store, name: str) -> None:
    with pytest.raises(InputError, match="not a name for a profile"):
        store.path(name)


@pytest.mark.parametrize("verb", ["accept", "reject", "undo", "remove", "load"])
def test_nobody_of_that_name(store: Store, profile: Profile, verb: str) -> None:
    store.save_provisional("bo", profile)
    with pytest.raises(ProfileError, match=r"no profile called ada \(found profiles: bo.*calibrate --profile ada"):
        getattr(store, verb)("ada")


@pytest.mark.parametrize(
    ("verb", "missing"), [("accept", "provisional"), ("reject", "provisional"), ("undo", "previous")]
)
def test_nothing_to_do_is_said(store: Store, profile: Profile, verb: str, missing: str) -> None:
    fill(store, profile, current="a")
    with pytest.raises(ProfileError, match=f"there is no {missing} profile .found current"):
        getattr(store, verb)("ada")
    assert contents(store) == {"current": "a"}


@pytest.mark.parametrize(("verb", "which"), [("accept", "provisional"), ("undo", "previous")])
def test_a_damaged_profile_never_becomes_current(store: Store, profile: Profile, verb: str, which: Which) -> None:
    fill(store, profile, previous="a", current="b", provisional="c")
    data = store.path("ada", which).read_bytes()
    store.path("ada", which).write_bytes(data[:-1])
    with pytest.raises(ProfileError, match="is damaged"):
        getattr(store, verb)("ada")
    assert store.load("ada").notes == "b"


def test_a_profile_that_could_not_be_read_is_not_written(store: Store, profile: Profile) -> None:
    fill(store, profile, current="a")
    with pytest.raises(ProfileError, match="notes is wrong"):
        store.save_provisional("ada", named(profile, "x" * 3000))
    assert contents(store) == {"current": "a"}


def test_a_huge_file_is_refused_without_reading_it_whole(store: Store, profile: Profile) -> None:
    fill(store, profile, current="a")
    with store.path("ada", "current").open("r+b") as file:
        file.truncate(10**12)  # sparse
    with pytest.raises(ProfileError, match="too large"):
        store.load("ada")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EIO])
@pytest.mark.parametrize("call", ["replace", "fsync", "rename", "unlink"])
@pytest.mark.parametrize("verb", ["save", "accept", "undo", "reject"])
def test_a_disk_that_fails_is_explained_and_harms_nothing(
    store: Store, profile: Profile, monkeypatch: pytest.MonkeyPatch, verb: str, call: str, number: int
) -> None:
    fill(store, profile, previous="a", current="b", provisional="c")

    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    operation = OPERATIONS[verb][0]
    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        try:
            operation(store, profile)
        except StorageError as error:
            assert os.strerror(number) in str(error)
            assert str(store.root) in str(error)
    assert contents(store)["current"] in ("b", *OPERATIONS[verb][1].values())


def test_a_folder_that_cannot_be_made_is_explained(tmp_path: Path, profile: Profile) -> None:
    (tmp_path / "profiles").write_text("a file in the way")
    with pytest.raises(StorageError, match="cannot be written"):
        Store(tmp_path / "profiles").save_provisional("ada", profile)
    with pytest.raises(StorageError, match="cannot be read"):
        Store(tmp_path / "profiles").names()


@pytest.mark.parametrize("verb", ["load", "accept", "remove"])
def test_a_folder_or_file_that_may_not_be_opened_is_explained(
    store: Store, profile: Profile, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    fill(store, profile, current="a", provisional="b")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", refuse)
        patch.setattr(os, "open", refuse)
        with pytest.raises((ProfileError, StorageError), match=r"cannot be (read|changed): Permission denied"):
            getattr(store, verb)("ada")
    assert contents(store) == {"current": "a", "provisional": "b"}


# The power is cut ahead of every change to the file system, one after the other.

BEFORE = {"previous": "a", "current": "b", "provisional": "c"}
OPERATIONS: dict[str, tuple[Operation, dict[str, str]]] = {
    "save": (lambda store, profile: store.save_provisional("ada", named(profile, "d")), BEFORE | {"provisional": "d"}),
    "accept": (lambda store, profile: store.accept("ada"), {"previous": "b", "current": "c"}),
    "undo": (lambda store, profile: store.undo("ada"), BEFORE | {"previous": "b", "current": "a"}),
    "reject": (lambda store, profile: store.reject("ada"), {"previous": "a", "current": "b"}),
}


def cut_power(store: Store, profile: Profile, operation: Operation, after: int) -> bool:
    """Run in a child process that dies ahead of its change number `after`; whether it died."""
    child = os.fork()
    if child == 0:
        left = [after]

        def hook(event: str, arguments: tuple[object, ...]) -> None:
            writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
            if (event in CHANGES or writes) and str(store.root) in str(arguments[0]):
                if left[0] == 0:
                    os._exit(CUT)
                left[0] -= 1

        try:
            sys.addaudithook(hook)
            operation(store, profile)
            os._exit(0)
        except BaseException:
            os._exit(1)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, CUT)
    return code == CUT


def cuts(tmp_path: Path, profile: Profile, operation: Operation) -> Iterator[Store]:
    for after in range(100):
        store = Store(tmp_path / str(after))
        fill(store, profile, **BEFORE)
        if not cut_power(store, profile, operation, after):
            assert after >= 1  # the hook saw something
            return
        yield store
    raise AssertionError("the operation never ends")


@pytest.mark.parametrize("verb", OPERATIONS)
def test_a_power_cut_leaves_everything_as_before_or_as_after(tmp_path: Path, profile: Profile, verb: str) -> None:
    operation, after = OPERATIONS[verb]
    for store in cuts(tmp_path, profile, operation):
        found = contents(store)
        assert found["current"] in (BEFORE["current"], after["current"])
        # The next change settles what was left undone: then all three are of one moment.
        store.save_provisional("ada", named(profile, "next"))
        settled = contents(store) | {"provisional": ""}
        assert settled in (BEFORE | {"provisional": ""}, after | {"provisional": ""})
        assert settled["current"] == found["current"]
        assert sorted(path.name for path in store.path("ada").iterdir()) == [
            f"{which}.profile" for which in sorted(WHICH)
        ]


@pytest.mark.parametrize("verb", ["accept", "undo"])
def test_the_change_can_be_repeated_or_taken_back_after_a_power_cut(
    tmp_path: Path, profile: Profile, verb: str
) -> None:
    operation, after = OPERATIONS[verb]
    seen = set()
    for store in cuts(tmp_path, profile, operation):
        done = contents(store)["current"] == after["current"]
        seen.add(done)
        if done:
            store.undo("ada")
            assert contents(store)["current"] == BEFORE["current"]
        else:
            operation(store, profile)
            assert contents(store) == after
    assert seen == {False, True}  # the cuts fell on both sides of the change


def test_the_first_profile_survives_a_power_cut(tmp_path: Path, profile: Profile) -> None:
    for after in range(20):
        store = Store(tmp_path / str(after))
        died = cut_power(store, profile, lambda s, p: (s.save_provisional("ada", p), s.accept("ada")), after)
        assert set(contents(store)) <= {"current", "provisional"}
        store.save_provisional("ada", profile)
        store.accept("ada")
        assert store.load("ada").notes == profile.notes
        if not died:
            return
    raise AssertionError("the operation never ends")


def test_a_removal_cut_short_can_be_repeated(tmp_path: Path, profile: Profile) -> None:
    for store in cuts(tmp_path, profile, lambda store, profile: store.remove("ada")):
        assert contents(store).get("current", "b") == "b"
        store.remove("ada")
        assert store.names() == ()
