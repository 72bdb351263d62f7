"""The integer kernel in C beside the references: the body byte for byte, front and embedding within a tolerance."""

from __future__ import annotations

import ctypes
import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch", reason="the [train] extra is not installed")

from myosem_edge.errors import InputError
from myosem_edge.export.c_arrays import generated_files, scale_q16
from myosem_edge.export.c_folder import CFolder, float_features, kernel_files, make_c_folder, state_bytes
from myosem_edge.export.c_host import WARNINGS, HostKernel
from myosem_edge.quantize.network import IntBody, Scale, add, requantise
from myosem_edge.runtime.decoder import Model
from myosem_edge.runtime.encoder import Fit
from myosem_edge.signal.blockfilter import BlockFilter
from tests.conftest import Exported
from tests.export.c_student import LEVEL, emg, made, make_model
from tests.export.c_tools import compiler, tool

WIDTHS = {"15k": 48, "50k": 96, "120k": 160}
FIT = Fit(False, 0, np.full(8, LEVEL))
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module", params=WIDTHS)
def kernel(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> HostKernel:
    return built(make_model(WIDTHS[request.param]), tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> HostKernel:
    return built(make_model(), tmp_path_factory.mktemp("small"))


def built(model: Model, folder: Path, *options: str) -> HostKernel:
    compiler()
    made(model).write(folder)
    return HostKernel(model, folder, options or ("-O2",))


def reference_h(model: Model, features: np.ndarray) -> np.ndarray:
    body = IntBody.from_tensors(model.tensors)
    return body.blocks[-1].out.quantise(body.step(body.inlet.real(features), body.start())[0])


def some_features(model: Model, frames: int, seed: int) -> np.ndarray:
    """Bytes of every kind: whole range, steps, extremes."""
    rng = np.random.default_rng(seed)
    width = IntBody.from_tensors(model.tensors).width
    noise = rng.integers(0, 256, (frames, width))
    held = np.repeat(rng.integers(0, 256, (frames // 10 + 1, width)), 10, axis=0)[:frames]
    rails = rng.choice([0, 255], (frames, width))
    return np.choose(rng.integers(0, 3, (frames, 1)), (noise, held, rails)).astype(np.uint8)


# The body


def test_body_gives_the_bytes_of_the_reference(kernel: HostKernel) -> None:
    features = some_features(kernel.model, 3000, seed=1)
    expected = reference_h(kernel.model, features)
    assert len(np.unique(expected)) > 100
    assert kernel.body(features).tobytes() == expected.tobytes()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_body_of_any_features(small: HostKernel, seed: int) -> None:
    features = some_features(small.model, 60, seed)
    assert small.body(features).tobytes() == reference_h(small.model, features).tobytes()


@pytest.mark.parametrize("options", [("-O0",), ("-O3", "-ffast-math"), ("-O2", "-DMYOSEM_PORTABLE")])
def test_no_option_of_the_compiler_changes_a_byte(small: HostKernel, tmp_path: Path, options: tuple[str, ...]) -> None:
    other, samples = built(small.model, tmp_path, *options), emg(200, 4)
    ours, theirs = small.run(samples, FIT), other.run(samples, FIT)
    for name in ("features", "h", "z", "nearest"):
        assert getattr(ours, name).tobytes() == getattr(theirs, name).tobytes(), name
    assert np.float64(5e-324) > 0.0  # this process still knows the smallest numbers


def singles(values: Any) -> np.ndarray:
    return np.asarray(values, np.float32).reshape(-1)


def test_requantise_is_exact_at_ties_and_beyond_24_bits(small: HostKernel) -> None:
    rng = np.random.default_rng(2)
    magnitudes = np.concatenate(
        [rng.integers(0, 2**bits, 400) for bits in range(1, 32)]
        + [np.arange(512), 2**24 + np.arange(-64, 64), 2**25 + np.arange(-64, 64), [2**31 - 1]]
    )
    accumulators = np.where(rng.random(len(magnitudes)) < 0.5, magnitudes, -magnitudes).astype(np.int32)
    # Powers of two make exact ties; the others make numbers that round onto ties.
    exact = np.exp2(rng.integers(-30, 2, len(accumulators)))
    near = 100 * rng.random(len(accumulators)) / np.maximum(np.abs(accumulators), 1)
    half = (rng.integers(0, 256, len(accumulators)) + 0.5) / np.maximum(np.abs(accumulators), 1)
    call = small.function("myosem_requantise", ctypes.c_uint8, ctypes.c_int32, ctypes.c_uint32, ctypes.c_int32)
    for multipliers in (exact, near, half):
        step = singles(multipliers)
        expected = requantise(accumulators, step, Scale(np.float32(1), 7))
        bits = step.view(np.uint32)
        found = [call(int(a), int(m), 7) for a, m in zip(accumulators, bits, strict=True)]
        assert np.array_equal(found, expected)
        assert len(np.unique(expected)) > 10


@pytest.mark.parametrize(
    ("a", "b", "out"),
    [
        ((0.0137, 100), (0.00219, 31), (0.0141, 97)),
        ((0.5, 128), (0.25, 128), (0.5, 128)),  # every second sum is a tie
        ((1e-6, 3), (20.0, 200), (17.0, 120)),  # 24 places apart
        ((3e-12, 128), (5.0, 128), (4e-2, 128)),  # 40 places apart
        ((7.3, 0), (7.3, 255), (1e-3, 128)),  # saturates
        ((1e-3, 128), (1.1e-3, 128), (900.0, 5)),  # vanishes
    ],
)
def test_addition_is_exact_for_every_pair_of_bytes(small: HostKernel, a: Any, b: Any, out: Any) -> None:
    class CScale(ctypes.Structure):
        _fields_ = (("step", ctypes.c_uint32), ("zero", ctypes.c_int32))

    scales = [Scale(np.float32(step), zero) for step, zero in (a, b, out)]
    given = [ctypes.byref(CScale(int(singles(s.step).view(np.uint32)[0]), s.zero)) for s in scales]
    call = small.function("myosem_add", ctypes.c_uint8)
    every = np.arange(256, dtype=np.uint8)
    left, right = (grid.reshape(-1) for grid in np.meshgrid(every, every, indexing="ij"))
    expected = add(left, scales[0], right, scales[1], scales[2])
    found = [call(int(x), given[0], int(y), given[1], given[2]) for x, y in zip(left, right, strict=True)]
    assert np.array_equal(found, expected)


# The front and the embedding


def test_logarithm_power_and_root_stay_within_their_bounds(small: HostKernel) -> None:
    rng = np.random.default_rng(3)
    values = [1, 2, 3, 2**63, 2**64 - 1, *(int(v) for v in np.exp2(rng.uniform(0, 63.9, 20000)))]
    log2 = small.function("myosem_log2", ctypes.c_int32, ctypes.c_uint64)
    assert np.abs([log2(v) / 2**24 - np.log2(v) for v in values]).max() < 2e-7
    exp2 = small.function("myosem_exp2_minus", ctypes.c_uint32, ctypes.c_uint32)
    exponents = [0, 1, 2**16 - 1, 2**16, 31 << 16, 2**32 - 1, *map(int, rng.integers(0, 40 << 16, 20000))]
    assert np.abs([exp2(t) / 2**30 - 2.0 ** (-t / 2**16) for t in exponents]).max() < 3e-8
    root = small.function("myosem_root", ctypes.c_uint32, ctypes.c_uint64)
    assert all((r := root(v)) ** 2 <= v < (r + 1) ** 2 for v in values)


def compared(kernel: HostKernel, samples: np.ndarray, fit: Fit) -> dict[str, float]:
    """Shares and cosines of C beside the float front and the numpy body, over frames from a cold start."""
    model, body = kernel.model, IntBody.from_tensors(kernel.model.tensors)
    ran, expected = kernel.run(samples, fit), model.encoder(fit, "reference").whole(samples)
    order = np.arange(8)
    order = ((-order) % 8 if fit.mirrored else order)[(order + fit.shift) % 8]
    features = float_features(model, samples[:, order], np.roll(fit.scale, -fit.shift))
    apart = np.abs(ran.features.astype(int) - body.inlet.quantise(features))
    nearest = (expected.z @ model.gallery.prototypes.T).argmax(axis=1)
    return {
        "equal": float((apart == 0).mean()),
        "most": float(apart.max()),
        "cosine": float((ran.z * expected.z).sum(axis=1).min()),
        "mean cosine": float((ran.z * expected.z).sum(axis=1).mean()),
        "nearest": float((ran.nearest == nearest).mean()),
        "length": float(np.abs(np.linalg.norm(ran.z, axis=1) - 1).max()),
    }


@pytest.mark.parametrize("level", [1.0, LEVEL, 900.0])
def test_front_is_within_a_step_of_the_float_front(kernel: HostKernel, level: float) -> None:
    found = compared(kernel, emg(600, 5, level), Fit(False, 0, np.full(8, level)))
    assert found["most"] <= 1 and found["equal"] > (0.9999 if level > 1 else 0.999)
    assert found["cosine"] > 0.99 and found["mean cosine"] > 0.9999 and found["length"] < 1e-4
    assert found["nearest"] > 0.99  # of a student that has learnt nothing, in a gallery of noise


@pytest.mark.parametrize(("mirrored", "shift"), [(True, 0), (False, 3), (True, 5)])
def test_the_ring_is_turned_as_in_the_reference(small: HostKernel, mirrored: bool, shift: int) -> None:
    found = compared(small, emg(200, 6), Fit(mirrored, shift, LEVEL * np.linspace(0.5, 2.0, 8)))
    assert found["most"] <= 1 and found["cosine"] > 0.99


def test_no_fit_is_the_typical_one(small: HostKernel) -> None:
    samples = emg(50, 7)
    assert np.array_equal(small.run(samples, None).h, small.run(samples, FIT).h)


@pytest.mark.parametrize("changes", [{"activation_aware": False}, {"slow_frames": 1}, {"slow_frames": 3, "taps": 4}])
def test_other_switches_of_the_encoder(tmp_path: Path, changes: dict[str, Any]) -> None:
    found = compared(built(make_model(**changes), tmp_path), emg(300, 8), FIT)
    assert found["most"] <= 1 and found["equal"] > 0.9995


def test_two_sections_and_none(tmp_path: Path) -> None:
    notch = [0.9565, -0.0, 0.9565, 1.0, -0.0, 0.913]  # 50 Hz at 200 Hz
    for name, sections in (("two", [*make_model().filter.sos, notch]), ("none", [[1.0, 0, 0, 1, 0, 0]])):
        model = replace(make_model(), filter=BlockFilter(np.array(sections), 5))
        found = compared(built(model, tmp_path / name), emg(300, 9), FIT)
        assert found["most"] <= 1 and found["equal"] > 0.9995


@pytest.mark.parametrize("kind", ["silence", "rails", "square", "impulse"])
def test_signals_at_their_limits_stay_defined(small: HostKernel, kind: str) -> None:
    """Beyond 1024 times the level samples and mixtures are clipped, and nothing wraps."""
    samples = np.zeros((500, 8), np.int16)
    if kind == "rails":
        samples[:] = np.random.default_rng(1).choice([-(2**15), 2**15 - 1], samples.shape)
    elif kind == "square":
        samples[:] = np.where(np.arange(500) % 10 < 5, 2**15 - 1, -(2**15))[:, None]
    elif kind == "impulse":
        samples[250] = 2**15 - 1
    found = compared(small, samples, Fit(False, 0, np.full(8, 1000.0)))
    assert found["most"] <= 1 and found["equal"] > 0.999
    quiet = compared(small, samples, Fit(False, 0, np.full(8, 60000.0)))
    assert quiet["most"] <= 1
    ran = small.run(samples, Fit(False, 0, np.full(8, 0.001)))  # clipped
    assert np.isfinite(ran.z).all() and np.abs(np.linalg.norm(ran.z, axis=1) - 1).max() < 1e-4


def test_a_fit_that_cannot_be_is_refused(small: HostKernel) -> None:
    assert small.init(FIT) and small.init(None)
    assert not small.init(Fit(False, 8, FIT.scale))
    call = small.function("myosem_init", ctypes.c_bool)
    zero = (ctypes.c_uint32 * 10)()  # mirrored, shift, eight scales
    assert not call(small._state.ctypes.data_as(ctypes.c_void_p), zero)
    for scale in (0.0, 2.0**16, np.nan):
        with pytest.raises(InputError, match="16 bits before and after the point"):
            scale_q16(np.array([1.0, scale]))


# What does not fit integers is said, not wrapped


def test_an_encoder_that_does_not_fit_is_refused() -> None:
    model = make_model()
    wide = {**model.tensors, "body.0.mix_bias": np.full(48, 2**31 - 1, np.int32)}
    loud = BlockFilter(np.array([[1e6, 0.0, 0.0, 1.0, 0.0, 0.0]]), 5)
    ringing = BlockFilter(np.array([[1.0, 0.0, 0.0, 1.0, -1.9999999, 0.99999995]]), 5)
    for changed, message in (
        (replace(model, tensors=wide), "a sum of the body is too large"),
        (replace(model, filter=loud), "gain of the input filter is too large"),
        (replace(model, filter=ringing), "a filter that rings too long"),
        (replace(model, front=replace(model.front, kernel=model.front.kernel * 1e9)), "a weight of the front"),
        (replace(model, front=replace(model.front, slow_frames=500)), "samples in a slow power"),
    ):
        with pytest.raises(InputError, match=message):
            generated_files(changed)


# The folder


def test_the_same_model_gives_the_same_files_and_their_sizes_are_right(tmp_path: Path) -> None:
    model = make_model()
    folder = made(model)
    assert folder.files == made(model).files and set(kernel_files()) < set(folder.files)
    folder.write(tmp_path)
    sizes = f'#include "myosem.h"\n_Static_assert(sizeof(myosem_state) == {state_bytes(model)}U, "state");\n'
    (tmp_path / "sizes.c").write_text(sizes)
    subprocess.run([compiler(), *WARNINGS, "-fsyntax-only", str(tmp_path / "sizes.c")], check=True)
    weights = sum(t.size for name, t in model.tensors.items() if t.dtype == np.int8)
    assert weights < folder.array_bytes < 2 * weights + 60_000
    assert folder.gallery_bytes == 2 * model.gallery.prototypes.size


def test_kernel_is_plain_c_without_heap_floats_or_text(tmp_path: Path) -> None:
    """Names of the standard library outside check/: memcpy and memset alone."""
    for name, data in kernel_files().items():
        if name.startswith("myosem") and name.endswith((".c", ".h")):
            code = re.sub(r"/\*.*?\*/", "", data.decode(), flags=re.DOTALL)
            assert not re.search(r"\b(float|double|malloc|free|alloca|printf|goto|union)\b", code), name
            assert set(re.findall(r"#include <(\S+)>", code)) <= {"stdint.h", "stdbool.h", "stddef.h", "string.h"}
            assert set(re.findall(r"\bmem\w+(?=\()", code)) <= {"memcpy", "memset"}, name


def test_the_licence_in_the_folder_is_that_of_the_project() -> None:
    assert kernel_files()["LICENSE"] == (ROOT / "LICENSE").read_bytes()


def test_a_bundle_becomes_a_folder_whose_check_passes(exported: Exported, tmp_path: Path) -> None:
    folder = make_c_folder(exported.bundle)
    folder.write(tmp_path)
    out = checked(tmp_path, folder)
    assert "bytes of h that differ, from the same features: 0 of 9600" in out
    equal, total = re.findall(r"from samples: (\d+) of (\d+)", out)[0]
    assert int(equal) >= 0.995 * int(total) == 199
    readme = folder.files["README.md"].decode()
    assert exported.bundle.sha256 in readme and f"| state | {folder.state_bytes} bytes" in readme
    assert "Not a medical device" in readme and folder.files["MODEL_CARD.md"] == exported.bundle.member("MODEL_CARD.md")


def checked(path: Path, folder: CFolder, *options: str) -> str:
    """Output of the folder's check on this computer, undefined behaviour and addresses watched."""
    sources = [name for name in folder.files if name.endswith(".c") and "/" not in name]
    command = [compiler(), *WARNINGS, "-O1", "-fsanitize=undefined,address", "-fno-sanitize-recover=all", *options]
    made_of = [*sources, "check/check.c", "check/number.c", "check/host.c", "-o", "check/here"]
    compiled = subprocess.run([*command, *made_of], cwd=path, capture_output=True, text=True)
    if "sanitize" in compiled.stderr or "asan" in compiled.stderr:
        pytest.skip("the C compiler has no sanitizers")
    assert compiled.returncode == 0, compiled.stderr
    ran = subprocess.run([str(path / "check" / "here")], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout[-2000:] + ran.stderr[-2000:]
    return ran.stdout


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match=r"is there already.*Choose another --out"):
        made(make_model()).write(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


# The processor


@pytest.mark.full
@pytest.mark.parametrize("size", WIDTHS)
def test_a_cortex_m3_gives_the_bytes_of_this_computer(size: str, tmp_path: Path) -> None:
    tool("arm-none-eabi-gcc", "gcc-arm-none-eabi libnewlib-arm-none-eabi")
    tool("qemu-system-arm", "qemu-system-arm")
    tool("make", "make")
    model = make_model(WIDTHS[size])
    folder = made(model)
    folder.write(tmp_path)
    here = checked(tmp_path, folder, "-DCHECK_BYTES")
    make = ["make", "--no-print-directory", "-C", str(tmp_path)]
    there = subprocess.run([*make, "check-qemu", "EXTRA=-DCHECK_BYTES"], capture_output=True, text=True)
    assert there.returncode == 0, there.stdout[-2000:] + there.stderr[-2000:]
    lines = [[line for line in text.splitlines() if line[:2] in ("h ", "z ")] for text in (here, there.stdout)]
    assert len(lines[0]) == 120 and lines[0] == lines[1]
    assert "bytes of h that differ, from the same features: 0 of" in there.stdout
    weighed = subprocess.run([*make, "size"], capture_output=True, text=True, check=True).stdout
    text, data, bss = map(int, weighed.splitlines()[-1].split()[:3])
    own = folder.array_bytes + folder.gallery_bytes
    assert own < text < own + 10_000 and data == 0 and bss == state_bytes(model) + 80
    library = ["arm-none-eabi-nm", "--undefined-only", str(tmp_path / "build" / "libmyosem.a")]
    asked = set(re.findall(r" U (\S+)", subprocess.run(library, capture_output=True, text=True, check=True).stdout))
    foreign = {name for name in asked if not name.startswith("myosem_")}
    assert foreign <= {"memcpy", "memset", "__aeabi_uldivmod", "__aeabi_ldivmod", "__aeabi_lmul"}, foreign


@pytest.mark.full
@pytest.mark.parametrize("cpu", ["cortex-m0", "cortex-m4", "cortex-m7", "cortex-m33"])
def test_other_processors_compile_without_a_warning(cpu: str, tmp_path: Path) -> None:
    tool("arm-none-eabi-gcc", "gcc-arm-none-eabi libnewlib-arm-none-eabi")
    tool("make", "make")
    made(make_model()).write(tmp_path)
    compiled = subprocess.run(["make", "-C", str(tmp_path), f"CPU={cpu}"], capture_output=True, text=True)
    assert compiled.returncode == 0, compiled.stderr
