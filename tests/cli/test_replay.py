"""`replay` as a user types it: a recording becomes the same decisions again, and differences are said."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from myosem_edge.cli.main import main
from myosem_edge.errors import InputError
from myosem_edge.firmware_bridge.frontends.base import Chunk
from myosem_edge.runtime.decoder import Decoder
from myosem_edge.runtime.replay import compare, decide, read_lines, to_line
from tests.calibration.tiny_model import Muscle, build


def call(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, ["replay", *(str(a) for a in arguments)])
    assert "Traceback" not in result.stderr
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    muscle = Muscle(1)
    parts = [muscle.play(action, 2.0) for action in ("rest", "fist", "rest", "wrist_extension")]
    path = tmp_path / "r.npz"
    np.savez(path, emg=np.concatenate(parts), rec_ptr=np.array([0, 800, 1600]))
    return path


def test_a_recording_decides_as_one_chunk_would() -> None:
    model, samples = build(), Muscle(3).play("fist", 2.0)
    whole = Decoder(model, backend="reference").feed(Chunk(samples, 0, 2.0))
    found = list(decide(model, samples, None, "reference"))
    assert [(d.action, d.accepted, d.reason) for d in found] == [(d.action, d.accepted, d.reason) for d in whole]
    assert len(found) == 80 and np.isfinite([d.time_s for d in found]).all()


def test_lines_come_back_as_they_were_written() -> None:
    lines = [to_line(2, d) for d in decide(build(), Muscle(3).play("fist", 1.0), None, "reference")]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    agreement = compare(lines, read_lines(text, "x"))
    assert (agreement.equal, agreement.decisions, agreement.first_difference) == (40, 40, None)
    assert agreement.percent == 100.0 and agreement.largest_probability_difference == 0.0


@pytest.mark.parametrize("text", ["x", "[]", "{}", '{"action": 1, "accepted": true, "probability": 0.5}'])
def test_what_is_no_decision_is_said_with_its_line(text: str) -> None:
    good = json.dumps(to_line(0, next(iter(decide(build(), Muscle(3).play("fist", 1.0), None, "reference")))))
    with pytest.raises(InputError, match=r"f\.jsonl: line 2: is no decision"):
        read_lines(f"{good}\n{text}\n", "f.jsonl")


def test_every_difference_counts() -> None:
    line = {"action": "fist", "accepted": True, "probability": 0.5}
    changes = ({"action": "rest"}, {"accepted": False}, {"probability": 0.75})
    found = compare([line] * 4, [line, *({**line, **change} for change in changes)])
    assert (found.equal, found.first_difference, found.percent) == (2, 1, 50.0)
    assert found.largest_probability_difference == 0.25
    with pytest.raises(InputError, match="another number of decisions"):
        compare([line], [])
    with pytest.raises(InputError, match="not the same recording"):
        compare([{**line, "recording": 0}], [{**line, "recording": 1}])


@pytest.mark.parametrize("number", ["-5", "1e400", "NaN", "Infinity", "1" + "0" * 400])
def test_what_is_no_probability_is_refused(number: str) -> None:
    with pytest.raises(InputError, match=r"line 1: is no (probability|decision)"):
        read_lines(f'{{"action": "fist", "accepted": true, "probability": {number}}}\n', "f")


def test_nothing_that_is_read_is_replaced(tiny_bundle: Path, recording: Path, tmp_path: Path) -> None:
    for target in (tiny_bundle, recording):
        before = target.read_bytes()
        code, out, err = call(tiny_bundle, recording, "--out", target)
        assert (code, out) == (3, "") and "would replace what is read" in err and target.read_bytes() == before
    os.mkfifo(tmp_path / "pipe")
    code, out, err = call(tiny_bundle, recording, "--out", tmp_path / "pipe")
    assert (code, out) == (8, "") and "no file that could be replaced" in err


@pytest.mark.parametrize("borders", [[-300, 100, 1600], [0, 10**12], [100, 1600], [0], []])
def test_borders_that_do_not_cover_the_samples_are_refused(
    tiny_bundle: Path, tmp_path: Path, borders: list[int]
) -> None:
    np.savez(tmp_path / "b.npz", emg=np.zeros((1600, 8), np.float32), rec_ptr=np.array(borders, np.int64))
    code, out, err = call(tiny_bundle, tmp_path / "b.npz")
    assert (code, out) == (3, "") and "rec_ptr does not cover the samples" in err


def test_replay_writes_compares_and_refuses(tiny_bundle: Path, recording: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    code, out, err = call(tiny_bundle, recording, "--backend", "reference", "--out", first)
    assert (code, err) == (0, "") and "160 decisions" not in out and "320 decisions of 2 recordings" in out
    code, out, _ = call(tiny_bundle, recording, "--backend", "reference", "--out", second, "--compare", first)
    assert code == 0 and "320 of 320 decisions equal" in out and first.read_bytes() == second.read_bytes()
    rows = [json.loads(line) for line in first.read_text().splitlines()]
    assert [row["recording"] for row in rows] == [0] * 160 + [1] * 160
    assert rows[0]["reason"] == rows[160]["reason"] == "settling"  # each recording starts cold
    for row in rows[:40]:
        row["action"] = "somethingelse"
    first.write_text("".join(json.dumps(row) + "\n" for row in rows))
    code, out, err = call(tiny_bundle, recording, "--backend", "reference", "--compare", first, "--json")
    assert code == 7 and "87.50 % equal" in err and json.loads(out)["agreement"]["first_difference"] == 0
    assert call(tiny_bundle, recording, "--backend", "reference", "--compare", first, "--least", 80)[0] == 0


def test_a_recording_of_another_armband_is_one_clear_error(tiny_bundle: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "four.npy", np.zeros((400, 4), np.float32))
    code, out, err = call(tiny_bundle, tmp_path / "four.npy")
    assert (code, out) == (3, "") and "wrong number of channels" in err
    np.savez(tmp_path / "b.npz", emg=np.zeros((400, 8), np.float32), rec_ptr=np.array([0, 300, 200]))
    code, out, err = call(tiny_bundle, tmp_path / "b.npz")
    assert (code, out) == (3, "") and "rec_ptr" in err
