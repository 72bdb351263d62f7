"""No decoder and no reader raises anything undocumented, keeps what it is sent for ever, or takes for ever.

A few hundred damaged inputs of each here; the long test has more than a million. `python -m tests.fuzz` has options.
"""

from __future__ import annotations

import ast
import io
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from myosem_edge.errors import MyosemError
from myosem_edge.firmware_bridge.emulators import EMULATED_FRONT_ENDS, EMULATED_HANDS
from myosem_edge.firmware_bridge.frontends import FRONT_ENDS
from myosem_edge.firmware_bridge.hands import HANDS
from tests.fuzz.damage import Damage
from tests.fuzz.devices import device_targets
from tests.fuzz.files import file_targets
from tests.fuzz.target import Found, Target, fuzz
from tests.fuzz.training_files import training_targets

ROOT = Path(__file__).parents[2]
TARGETS = {**device_targets(), **file_targets(), **training_targets()}
FEW = {"emulated spikershield": 40, "forged bundle": 150}  # slow ones
INPUTS = 250
MILLION = 1_000_000
# Files that come with the package, or that a test of their own damages; none of them is somebody else's.
OWN = {
    "actions/paraphrases.py": "shipped with the catalogue, which is a target",
    "bench/live.py": "lines of a child that it has started, and of the kernel",
    "bench/service.py": "the same",
    "boards/checkup.py": "files of the kernel, any text; tests/boards",
    "boards/counter.py": "what its own build and QEMU wrote",
    "calibration/store.py": "bytes of a profile, which is a target",
    "cli/replay.py": "text for `decision lines`",
    "demo/play.py": "lines of children that it has started",
    "export/c_folder.py": "a folder that it has written itself, to compare",
    "firmware_bridge/emulators/hackeeg.py": "lines of a host: `emulated hackeeg`",
    "firmware_bridge/frontends/hackeeg.py": "lines of a device: `front end hackeeg`",
    "firmware_bridge/port.py": "files of the kernel; tests/firmware_bridge/test_port.py",
    "boards/profiles.py": "tests/boards: files of the kernel; boards are shipped",
    "cli/grips.py": "prints a file as it is",
    "cli/reference.py": "compares a page with itself",
    "cli/actions.py": "the bytes of the table that it is about to write",
    "files.py": "reads what it has just written",
    "learn/corpus/ingest.py": "what the loaders of data sets have read before",
    "learn/datasets/emg2pose.py": "tests/learn/test_emg2pose.py damages its HDF5; `mat` reads HDF5 here",
    "learn/datasets/flexemg64.py": "one array of numpy, as `recording npy`",
    "learn/sample.py": "shipped",
    "learn/teacher/train.py": "its own header, which `checkpoint` reads",
    "learn/text.py": "tests/learn/test_text.py",
    "learn/protocols/runs.py": "what it has written itself; damaged, it is made again",
    "runtime/telemetry.py": "lines of its own parent; tests/runtime/test_telemetry.py",
}
COVERED = {
    "actions/catalogue.py", "actions/table.py", "bundle.py", "calibration/collection.py", "calibration/profile.py",
    "firmware_bridge/arrays.py", "firmware_bridge/frontends/recording.py", "keys.py", "learn/corpus/store.py",
    "learn/datasets/ninapro.py", "learn/datasets/recording.py", "learn/protocols/ablation.py",
    "learn/teacher/checkpoint.py", "learn/teacher/config.py", "manifest.py", "runtime/gate_replay.py",
    "runtime/grips.py", "runtime/presets.py", "runtime/recorder.py", "runtime/replay.py",
}  # fmt: skip
READS = re.compile(
    r"\.read_(bytes|text)\(|^(json|tomllib)\.loads\(|^np\.load\(|^loadmat\(|safe_open\(|^h5py\.File\(|\.open\('rb'\)$"
)


@pytest.mark.parametrize("name", sorted(TARGETS))
@pytest.mark.filterwarnings("ignore")
def test_nothing_undocumented_comes_of_damaged_inputs(name: str) -> None:
    fuzz(TARGETS[name](), FEW.get(name, INPUTS), seed=20)


def zipped(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


# What was found, once each: deep nesting, a header that ends too early, a member of an archive that is no array.
DEEP = b"[" * 5000
FOUND = {
    "grip map": b"a = " + DEEP,
    "presets": b"a = " + DEEP,
    "catalogue": b"a = " + DEEP,
    "grid": b"a = " + DEEP,
    "gate log": DEEP + b"\n",
    "collection": DEEP,
    "store index": DEEP,
    "decision lines": DEEP,
    "setting": b"steps=" + DEEP,
    "recording npy": b"\x93NUMPY\x01\x00\x20\x00{'descr': '<f4', 'shape': (50, 8\n",
    "recording npz": zipped(emg=b"not an array"),
    "own recording": zipped(emg=b"not an array"),
    "pack": zipped(emg=b"not an array"),
}


def test_what_was_found_in_emulated_devices_is_answered_now() -> None:
    for name, told in (("emulated hackeeg", DEEP + b"\n"), ("emulated spikershield", "c:1\u00b2;\n".encode("latin-1"))):
        TARGETS[name]().take(told)


@pytest.mark.parametrize("name", sorted(FOUND))
def test_what_was_found_is_one_clear_error_now(name: str) -> None:
    with pytest.raises(MyosemError):
        TARGETS[name]().take(FOUND[name])


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
def test_a_million_damaged_inputs() -> None:
    each = MILLION // len(TARGETS) + 1
    done = 0
    for name, make in TARGETS.items():
        fuzz(make(), each, seed=1)
        done += each
        print(f"{name}: {each}")
    assert done >= MILLION


def test_every_device_is_a_target() -> None:
    kinds = {"front end": FRONT_ENDS, "starting": FRONT_ENDS, "emulated": EMULATED_FRONT_ENDS}
    kinds |= {"hand": HANDS, "emulated hand": EMULATED_HANDS}
    assert {f"{kind} {name}" for kind, names in kinds.items() for name in names} <= set(TARGETS)


def test_every_module_that_reads_files_is_a_target_or_says_why_not() -> None:
    readers = set()
    for path in _modules():
        calls = [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call)]
        if any(READS.search(ast.unparse(call)) for call in calls):
            readers.add(str(path.relative_to(ROOT / "myosem_edge")))
    shown = {name for name in readers if not name.startswith(("cli/", "demo/")) or name in OWN}
    assert shown - COVERED - set(OWN) == set()
    assert readers >= COVERED, "what has gone is no target any more"


def _modules() -> list[Path]:
    found = []
    for folder in [ROOT / "myosem_edge", *(ROOT / "myosem_edge").iterdir()]:
        if folder.is_symlink():
            found += [folder / path.relative_to(folder.resolve()) for path in folder.resolve().rglob("*.py")]
        elif folder == ROOT / "myosem_edge":
            found += [path for path in folder.rglob("*.py") if not any(p.is_symlink() for p in path.parents)]
    return found


class TestTheFuzzer:
    def test_the_same_seed_damages_the_same(self) -> None:
        seeds = [bytes(range(200)), b"text"]
        one, other = Damage(seeds, 3), Damage(seeds, 3)
        assert [one.next() for _ in range(50)] == [other.next() for _ in range(50)]
        assert len({bytes(Damage(seeds, seed).next()) for seed in range(50)}) > 40

    def test_an_undocumented_error_is_found_and_a_documented_one_is_not(self) -> None:
        def picky(data: bytes) -> None:
            raise KeyError(len(data))

        with pytest.raises(Found, match="KeyError"):
            fuzz(Target("picky", [b"abc"], picky), 10, 1)
        assert fuzz(Target("picky", [b"abc"], picky, (KeyError,)), 10, 1) == 10

    def test_growth_is_found(self) -> None:
        kept: list[bytes] = []

        def check() -> None:
            assert sum(map(len, kept)) < 1000, "keeps everything"

        with pytest.raises(Found, match="keeps everything"):
            fuzz(Target("hoarder", [b"abc" * 50], kept.append, check=check), 600, 1)

    def test_slow_inputs_are_found(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("tests.fuzz.target.MOST_CPU_S", -1.0)
        with pytest.raises(Found, match=r"took 0\.0 s"):
            fuzz(Target("slow", [b"abc"], lambda data: None), 10, 1)

    def test_the_command_lists_and_repeats(self) -> None:
        command = [sys.executable, "-W", "ignore", "-m", "tests.fuzz"]
        listed = subprocess.run([*command, "--list"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=120)
        assert listed.stdout.split("\n")[:-1] == list(TARGETS)
        done = subprocess.run(
            [*command, "--target", "archive", "--inputs", "50"],
            cwd=ROOT, capture_output=True, text=True, check=True, timeout=120,
        )  # fmt: skip
        assert "50 inputs without a finding, 0 findings" in done.stdout
