"""`torchrun ... -m myosem_edge train`: the command of one process, in two."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

pytest.importorskip("torch", reason="the [train] extra is not installed")

from myosem_edge.cli.main import main

ROOT = Path(__file__).parents[2]
SETTINGS = (
    "ways=4", "queries=1", "episodes=2", "model.width=16", "model.mixtures=8", "model.filters=2", "checkpoint_every=10",
)  # fmt: skip
STEPS = 200


@contextmanager
def torchrun(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    launch = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "myosem_edge"]
    with subprocess.Popen(
        [sys.executable, "-m", *launch, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def arguments(data: Path, out: Path, *more: str) -> list[object]:
    settings = [part for setting in (*SETTINGS, *more) for part in ("--set", setting)]
    return ["train", "--data", data, "--family", "shipped", "--device", "cpu", "--out", out, *settings]


def test_two_processes_write_and_say_what_one_does(data: Path, tmp_path: Path) -> None:
    with torchrun(*arguments(data, tmp_path, "steps=4")) as process:
        out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    assert out.count("Wrote ") == out.count("Next: myosem-edge evaluate") == 1
    assert err.count("train: 4/4 loss") == err.count("train: 1/4 loss") == 1
    assert {path.name for path in tmp_path.iterdir()} == {
        "teacher.safetensors", "history.json", "training.png", "resume.safetensors",
    }  # fmt: skip


def test_after_ctrl_c_one_process_goes_on(data: Path, tmp_path: Path) -> None:
    with torchrun(*arguments(data, tmp_path, f"steps={STEPS}")) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith(f"train: {STEPS // 4}/"):
                process.send_signal(signal.SIGINT)
                break
        rest = process.stderr.read()
        assert process.wait(timeout=60) != 0
    assert "train: 200/200" not in rest and "defect" not in rest
    # Killed in the midst of writing the next one, it leaves a part of that beside it.
    assert {path.name for path in tmp_path.iterdir() if path.suffix != ".part"} == {"resume.safetensors"}
    done = CliRunner().invoke(main, [str(a) for a in arguments(data, tmp_path, f"steps={STEPS}")])
    assert done.exit_code == 0, done.stderr
    first = next(line for line in done.stderr.splitlines() if line.startswith("train: "))
    assert int(first.split()[1].partition("/")[0]) >= STEPS // 4 - 10 + 1
    assert (tmp_path / "teacher.safetensors").exists()


def test_too_many_processes_are_refused_before_anything_is_read(tmp_path: Path) -> None:
    with torchrun(*arguments(tmp_path / "nowhere", tmp_path, "episodes=1")) as process:
        _, err = process.communicate(timeout=200)
    assert process.returncode == 1  # torchrun's own code
    assert "error: a process would have no episode (found 2 processes, 1 episodes a step)" in err
    assert "no such data folder" not in err
