"""What the training commands share: the device that was asked for, and progress that never mixes with output."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="the [train] extra is not installed")
pytest.importorskip("rich", reason="the [train] extra is not installed")

import torch

from myosem_edge.cli._training import Bar, one_thread, pick_device
from myosem_edge.errors import InputError


@pytest.mark.parametrize(("present", "expected"), [(True, "cuda"), (False, "cpu")])
def test_auto_takes_a_gpu_where_there_is_one(monkeypatch: pytest.MonkeyPatch, present: bool, expected: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: present)
    assert pick_device("auto") == expected
    assert pick_device("cpu") == "cpu"


def test_a_gpu_that_is_not_there_is_not_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match=r"no GPU that torch can use .*Use --device cpu"):
        pick_device("cuda:1")


def test_one_thread_unless_asked_for_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    one_thread()
    assert torch.get_num_threads() == 1


def stages(bar: Bar) -> None:
    with bar.shown():
        for step in range(1, 9):
            bar.update("train", step, 8, f"loss {step}")
        bar.update("judge", 0, 1)


def test_without_a_terminal_progress_is_a_few_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    stages(Bar())
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "train: 1/8 loss 1",
        "train: 2/8 loss 2",
        "train: 4/8 loss 4",
        "train: 6/8 loss 6",
        "train: 8/8 loss 8",
        "judge",
    ]


def test_on_a_terminal_progress_is_a_bar(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    stages(Bar())
    out, err = capsys.readouterr()
    assert out == ""
    assert "train loss 8" in err and "8/8" in err and "judge" in err


@pytest.mark.parametrize("device", ["tpu", "meta", "", "cpu:0"])
def test_a_device_that_is_none_is_refused(device: str) -> None:
    with pytest.raises(InputError, match="no such device"):
        pick_device(device)
