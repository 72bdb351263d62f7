"""Several processes train what one would: real processes, started by torchrun, that meet on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the [train] extra is not installed")

import torch
from safetensors.torch import load_file
from torch import Tensor

from myosem_edge.errors import InputError
from myosem_edge.learn.teacher import acceleration, parallel
from myosem_edge.learn.teacher.model import BatchNorm, Encoder
from myosem_edge.learn.teacher.train import episode_generator
from tests.learn.processes import CONFIG, Interrupted, normalised, result, trained

ROOT = Path(__file__).parents[2]
# Sums in another order. Six steps move the weights by about 9e-3; the largest difference measured was 9.5e-7, and with
# gradients averaged instead of added it was 8e-5.
TOLERANCE = 5e-6


def two_processes(what: str, folder: Path) -> None:
    launch = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [sys.executable, "-m", *launch, "-m", "tests.learn.processes", what, folder],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=TOLERANCE, atol=TOLERANCE, msg=name)


@pytest.fixture(scope="module")
def alone() -> tuple[dict[str, Tensor], list[dict[str, float]]]:
    torch.set_num_threads(1)
    return result(trained())


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("together")
    two_processes("norm,quarrel,run", folder)
    return folder


def test_two_processes_train_what_one_does(alone, together: Path) -> None:
    weights, history = alone
    assert_same(load_file(together / "run0.safetensors"), weights)
    found = json.loads((together / "history0.json").read_text())
    assert [row["step"] for row in found] == [row["step"] for row in history] == list(range(6))
    for row, expected in zip(found, history, strict=True):
        assert row == pytest.approx(expected, rel=TOLERANCE, abs=TOLERANCE)


def test_both_processes_hold_the_same_bits(together: Path) -> None:
    ours, theirs = (load_file(together / f"run{rank}.safetensors") for rank in (0, 1))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert (together / "history0.json").read_bytes() == (together / "history1.json").read_bytes()


def test_the_first_process_alone_speaks(together: Path) -> None:
    assert (together / "spoken0.txt").read_text() == "0 0 1 2 3 4 5 6"
    assert (together / "spoken1.txt").read_text() == ""


@pytest.mark.parametrize("rank", [0, 1])
def test_statistics_of_a_batch_are_those_of_all_processes(together: Path, rank: int) -> None:
    """Forward, backward and running statistics, for two processes of two and three rows."""
    assert_same(load_file(together / f"norm{rank}.safetensors"), normalised(0, 5))


def test_processes_of_different_runs_say_so(together: Path) -> None:
    for rank in (0, 1):
        assert "the processes are not of the same run" in (together / f"quarrel{rank}.txt").read_text()


def test_what_two_processes_began_one_goes_on_with(alone, tmp_path: Path) -> None:
    two_processes("interrupt", tmp_path)
    assert "Interrupted" in (tmp_path / "end0.txt").read_text()
    left_behind = (tmp_path / "end1.txt").read_text()
    assert left_behind.startswith("MyosemError another process of this training ended")
    weights, history = result(trained(tmp_path))
    assert_same(weights, alone[0])
    assert len(history) == 6


def test_what_one_process_began_two_go_on_with(alone, tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        trained(tmp_path, stop_after=4)
    two_processes("run", tmp_path)
    assert_same(load_file(tmp_path / "run1.safetensors"), alone[0])
    assert (tmp_path / "spoken0.txt").read_text() == "4 5 6"


def test_one_process_normalises_as_torch_does() -> None:
    x = torch.randn(5, 7, 11)
    ours, theirs = BatchNorm(7), torch.nn.BatchNorm1d(7)
    assert torch.equal(ours(x), theirs(x))
    assert all(torch.equal(value, theirs.state_dict()[name]) for name, value in ours.state_dict().items())


def test_no_two_episodes_are_drawn_alike() -> None:
    drawn = {episode_generator(0, step, number).integers(2**62) for step in range(3) for number in range(3)}
    assert len(drawn) == 9
    assert episode_generator(0, 1, 2).integers(2**62) in drawn


@pytest.mark.parametrize(("processes", "count", "expected"), [(1, 5, [5]), (2, 5, [2, 3]), (3, 10, [3, 3, 4])])
def test_episodes_are_divided_without_rest(
    monkeypatch: pytest.MonkeyPatch, processes: int, count: int, expected: list[int]
) -> None:
    monkeypatch.setattr(parallel, "world", lambda: processes)
    shares = []
    for rank in range(processes):
        monkeypatch.setattr(parallel, "rank", lambda rank=rank: rank)
        shares.append(parallel.share(count))
    assert [len(share) for share in shares] == expected
    assert [number for share in shares for number in share] == list(range(count))


def test_more_processes_than_episodes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "world", lambda: 6)
    with pytest.raises(InputError, match=r"6 processes, 5 episodes a step.*at most 5 processes"):
        trained()


def test_one_process_needs_no_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "1")
    with parallel.joined("cpu"):
        assert (parallel.world(), parallel.is_first()) == (1, True)
        assert not torch.distributed.is_initialized()


def test_a_process_that_torchrun_did_not_start_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in parallel.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match=r"without RANK, LOCAL_RANK.*torchrun --standalone"), parallel.joined("cpu"):
        pass


def test_each_process_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    for name, value in {"WORLD_SIZE": "8", "RANK": "6", "LOCAL_RANK": "2", "LOCAL_WORLD_SIZE": "4"}.items():
        monkeypatch.setenv(name, value)
    assert parallel.own_device("cuda") == "cuda:2"
    assert parallel.own_device("cpu") == "cpu"
    with pytest.raises(InputError, match="cannot share a GPU"):
        parallel.own_device("cuda:0")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    with pytest.raises(InputError, match=r"4 processes on this machine .*its 3 GPUs"):
        parallel.own_device("cuda")


def test_half_precision_moves_the_losses_a_little_and_names_the_run(alone, tmp_path: Path) -> None:
    half = replace(CONFIG, precision="bf16")
    weights, history = result(trained(tmp_path, half))
    assert {value.dtype for value in weights.values()} == {torch.float32, torch.int64}
    losses, expected = ([row["loss"] for row in rows] for rows in (history, alone[1]))
    assert losses != expected
    assert losses == pytest.approx(expected, rel=0.05)
    with pytest.raises(InputError, match="different precision"):
        trained(tmp_path)


@pytest.mark.parametrize(
    ("precision", "device", "message"),
    [("fp8", "cpu", "no such precision"), ("bf16", "cuda", "does not calculate in bfloat16")],
)
def test_a_precision_that_cannot_be_is_refused(
    monkeypatch: pytest.MonkeyPatch, precision: str, device: str, message: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    with pytest.raises(InputError, match=message):
        acceleration.require_precision(precision, device)


@pytest.mark.full
def test_where_nothing_can_be_compiled_it_is_said(tmp_path: Path) -> None:
    """In a process of its own: torch reads the variable once, and keeps what it compiled."""
    code = """
import torch
from myosem_edge.errors import InputError
from myosem_edge.learn.teacher.acceleration import accelerated
from myosem_edge.learn.teacher.model import Encoder, ModelConfig
try:
    accelerated(Encoder(ModelConfig()), "fp32", "cpu", compiled=True)(torch.randn(2, 8, 130))
except InputError as error:
    print(error)
"""
    environment = {**os.environ, "CXX": "no-such-compiler", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.stdout.startswith("torch cannot compile here (found "), done.stderr
    assert "compiler" in done.stdout and "Leave --compile out" in done.stdout


@pytest.mark.full
def test_a_compiled_encoder_gives_what_it_gives_otherwise() -> None:
    torch.manual_seed(0)
    encoder = Encoder(CONFIG.model)
    x = torch.randn(4, 8, 130)
    plain, fast = (acceleration.accelerated(encoder, "fp32", "cpu", compiled)(x) for compiled in (False, True))
    for ours, theirs in zip(plain, fast, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
