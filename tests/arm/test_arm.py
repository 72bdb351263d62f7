"""A bundle made here decodes alike on the boards: their Python, their packages and their processors under emulation."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from myosem_edge.boards.profiles import board
from myosem_edge.boards.sysroot import TARGETS, Sysroot, cache_folder, prepare
from myosem_edge.errors import InputError

pytestmark = [pytest.mark.full, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
REPLAY = Path(__file__).with_name("replay.py")
BACKENDS = {"aarch64": ("onnxruntime", "litert", "reference"), "armv7l": ("litert", "reference")}
LITERT = {"aarch64": "litert (ai-edge-litert)", "armv7l": "litert (tflite-runtime)"}
# One board of each core; they make a runtime choose different kernels.
PLACES = [("aarch64", "pi_zero_2w"), ("aarch64", "pi_4"), ("aarch64", "pi_5"), ("armv7l", "pi_zero_2w")]
PLAYED = "p12548"  # nothing that ships was trained on this person
STREAMS, STREAM_SAMPLES = 5, 400  # ten seconds at 200 Hz
COSINE_MIN, EQUAL_MIN = 0.999, 0.999  # what the format promises across machines

places = pytest.mark.parametrize(("architecture", "name"), PLACES)


@dataclass(frozen=True)
class Made:
    """What left the computer: the bundle, a user folder that trusts its signer, the recording and its decoding here."""

    bundle: Path
    home: Path
    given: Path  # samples, and the features of this machine's front
    decoded: dict[str, np.ndarray]
    told: str


def arrays_of(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def recording() -> np.ndarray:
    """Ten seconds of the shipped sample (2000, 8): two seconds around the onset of each of five actions."""
    arrays = arrays_of(ROOT / "myosem_edge" / "sample" / "myo_readings8" / f"{PLAYED}.npz")
    pieces = []
    for stream in range(1, STREAMS + 1):
        begin, end = arrays["rec_ptr"][stream : stream + 2]
        onset = begin + int(np.flatnonzero(arrays["label"][begin:end])[0])
        pieces.append(arrays["emg"][onset - STREAM_SAMPLES // 2 : onset + STREAM_SAMPLES // 2])
    return np.concatenate(pieces).astype(np.float32)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    pytest.importorskip("torch", reason="the [train] extra is not installed")
    folder = tmp_path_factory.mktemp("computer")
    bundle, home, given = folder / "board.myosem", folder / "board", folder / "given.npz"
    environment = {**os.environ, "MYOSEM_HOME": str(folder / "maker"), "OMP_NUM_THREADS": "1"}
    export = ["-m", "myosem_edge", "export", "--steps", "5", "--max-int8-loss", "100", "--out", str(bundle)]
    exported = subprocess.run([sys.executable, *export], env=environment, cwd=ROOT, capture_output=True, text=True)
    assert exported.returncode == 0, exported.stderr
    (home / "keys.d").mkdir(parents=True)
    shutil.copy(folder / "maker" / "keys.d" / "dev.pub", home / "keys.d")

    samples = recording()
    np.savez(given, samples=samples)
    out = folder / "here.npz"
    replay = [str(REPLAY), str(bundle), str(given), str(out), *BACKENDS["aarch64"]]
    environment["MYOSEM_HOME"] = str(home)
    replayed = subprocess.run([sys.executable, *replay], env=environment, cwd=ROOT, capture_output=True, text=True)
    assert replayed.returncode == 0, replayed.stderr
    decoded = arrays_of(out)
    np.savez(given, samples=samples, features=decoded["features"])
    return Made(bundle, home, given, decoded, replayed.stdout)


def registry_answers(folder: Path) -> bool:
    pinned = f"click=={importlib.metadata.version('click')}"
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-cache-dir", "--no-deps", "--dest", str(folder)]
    return subprocess.run([*pip, pinned], capture_output=True).returncode == 0


@cache
def sysroot_or_reason(architecture: str, folder: Path) -> Sysroot | str:
    """What cannot be reached is a reason to skip; packages that do not exist for a board are a failure."""
    try:
        return prepare(TARGETS[architecture], cache_folder())
    except InputError as error:
        missing = str(error)
    if "does not have" in missing or (missing.startswith("pip") and registry_answers(folder)):
        pytest.fail(missing)
    return missing


@pytest.fixture(scope="module")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    yield tmp_path_factory.mktemp("downloads")


@pytest.fixture
def sysroot(architecture: str, downloads: Path) -> Sysroot:
    found = sysroot_or_reason(architecture, downloads)
    if isinstance(found, str):
        pytest.skip(found)
    return found


def on_board(architecture: str, name: str, home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """One command of myosem-edge there, the way a user asks for it."""
    tool = ["-m", "myosem_edge.boards.sysroot", "--board", name, "--architecture", architecture]
    environment = {**os.environ, "MYOSEM_HOME": str(home)}
    command = [sys.executable, *tool, *arguments]
    return subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)


def told(architecture: str, backend: str) -> str:
    """What a backend calls itself there."""
    return LITERT[architecture] if backend == "litert" else backend


@pytest.fixture(scope="module")
def replays() -> dict[tuple[str, str], tuple[dict[str, np.ndarray], str]]:
    return {}


@pytest.fixture
def there(
    architecture: str,
    name: str,
    sysroot: Sysroot,
    made: Made,
    tmp_path: Path,
    replays: dict[tuple[str, str], tuple[dict[str, np.ndarray], str]],
) -> tuple[dict[str, np.ndarray], str]:
    """The same recording decoded on that board, once for all tests: arrays, and what was printed."""
    if (architecture, name) not in replays:
        out = tmp_path / "there.npz"
        arguments = [str(REPLAY), str(made.bundle), str(made.given), str(out), *BACKENDS[architecture]]
        finished = sysroot.run(board(name), arguments, made.home)
        assert finished.returncode == 0, finished.stderr
        replays[architecture, name] = arrays_of(out), finished.stdout
    return replays[architecture, name]


def test_the_recording_is_worth_replaying(made: Made) -> None:
    """A decoder that always says the same would agree with itself anywhere."""
    assert len(set(made.decoded["reference.action"])) >= 3
    assert set(made.decoded["reference.accepted"]) == {False, True}
    assert len(made.decoded["reference.action"]) == 400


@places
def test_the_board_takes_the_bundle(architecture: str, name: str, sysroot: Sysroot, made: Made) -> None:
    """Golden vectors included, on what a user would take there: ONNX Runtime, which does not exist for 32 bits."""
    backend = BACKENDS[architecture][0]
    finished = on_board(architecture, name, made.home, "verify", "--backend", backend, str(made.bundle))
    assert finished.returncode == 0, finished.stdout + finished.stderr
    checks = [line.split()[:2] for line in finished.stdout.splitlines() if line.startswith("ok ")]
    assert len(checks) == 7
    assert f"ok  golden vectors  {told(architecture, backend)}: 200 hops" in finished.stdout


@pytest.mark.parametrize(("architecture", "name"), [("armv7l", "pi_zero_2w")])
def test_a_backend_that_the_board_lacks_is_said(architecture: str, name: str, sysroot: Sysroot, made: Made) -> None:
    finished = on_board(architecture, name, made.home, "verify", str(made.bundle))
    assert finished.returncode == 4
    assert "'onnxruntime' is not installed here" in finished.stdout and "Traceback" not in finished.stderr


@pytest.mark.parametrize(("architecture", "name"), [("aarch64", "pi_4"), ("armv7l", "pi_zero_2w")])
def test_the_board_refuses_a_bundle_of_somebody_unknown(
    architecture: str, name: str, sysroot: Sysroot, made: Made, tmp_path: Path
) -> None:
    finished = on_board(architecture, name, tmp_path, "verify", str(made.bundle))
    assert finished.returncode == 4
    assert "FAILED  signature" in finished.stdout
    assert "Traceback" not in finished.stderr


@places
def test_the_board_knows_itself(architecture: str, name: str, there: tuple[dict[str, np.ndarray], str]) -> None:
    assert there[1].splitlines()[0].split()[:2] == [architecture, name]


@places
def test_golden_vectors_agree_in_every_backend(
    architecture: str, name: str, there: tuple[dict[str, np.ndarray], str]
) -> None:
    lines = there[1].splitlines()[1:]
    expected = [f"ok {told(architecture, each)}: 200 hops" for each in BACKENDS[architecture]]
    assert [line.partition(", ")[0] for line in lines] == expected


@places
def test_from_the_same_features_the_body_is_byte_equal(
    architecture: str, name: str, there: tuple[dict[str, np.ndarray], str], made: Made
) -> None:
    """`h` to every backend of this machine. `z` is a float product in ONNX Runtime, and integer in the others."""
    for backend, other in product(BACKENDS[architecture], BACKENDS["aarch64"]):
        h, expected_h = there[0][f"{backend}.body_h"], made.decoded[f"{other}.body_h"]
        assert h.dtype == expected_h.dtype and h.tobytes() == expected_h.tobytes(), (backend, other)
        z, expected_z = there[0][f"{backend}.body_z"], made.decoded[f"{other}.body_z"]
        assert np.abs(z - expected_z).max() < 1e-5, (backend, other)
        assert "onnxruntime" in (backend, other) or z.tobytes() == expected_z.tobytes(), (backend, other)


@places
def test_from_the_same_samples_the_decisions_agree(
    architecture: str,
    name: str,
    there: tuple[dict[str, np.ndarray], str],
    made: Made,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for backend in BACKENDS[architecture]:
        found, expected = (
            {field: arrays[f"{backend}.{field}"] for field in ("h", "z", "action", "accepted")}
            for arrays in (there[0], made.decoded)
        )
        cosines = (found["z"] * expected["z"]).sum(axis=1)
        actions = float((found["action"] == expected["action"]).mean())
        verdicts = float((found["accepted"] == expected["accepted"]).mean())
        same_h = float((found["h"] == expected["h"]).mean())
        shares = (
            f"{name} {architecture}, {backend}: {100 * actions:.2f} % equal decisions, {100 * same_h:.4f} % of h equal"
        )
        with capsys.disabled():
            print(f"\n{shares}")
        assert len(found["action"]) == len(expected["action"])
        assert actions >= EQUAL_MIN and verdicts >= EQUAL_MIN, shares
        assert cosines.min() >= COSINE_MIN, shares


@places
def test_replay_on_the_board_decides_as_here(architecture: str, name: str, sysroot: Sysroot, made: Made) -> None:
    """As a user compares a board with the computer: `replay --out` here, `replay --compare` there."""
    backend = BACKENDS[architecture][-1]
    recorded, here = made.given.with_name("recorded.npy"), made.given.with_name(f"here-{backend}.jsonl")
    np.save(recorded, arrays_of(made.given)["samples"])
    command = ["replay", str(made.bundle), str(recorded), "--backend", backend]
    environment = {**os.environ, "MYOSEM_HOME": str(made.home)}
    mine = [sys.executable, "-m", "myosem_edge", *command, "--out", str(here)]
    assert subprocess.run(mine, env=environment, cwd=ROOT, capture_output=True).returncode == 0
    finished = on_board(architecture, name, made.home, *command, "--compare", str(here))
    assert finished.returncode == 0, finished.stderr
    assert "400 of 400 decisions equal" in finished.stdout
