"""`collect`: prompted sessions through an emulated Cyton become a data set, and a model, and a bundle for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from myosem_edge.actions.catalogue import load_catalogue
from myosem_edge.calibration.collecting import Collecting
from myosem_edge.calibration.collection import FOLDER, IGNORED, add_session, read_collection, require_addable
from myosem_edge.calibration.profile import montage_of
from myosem_edge.calibration.session import Plan, Prompt
from myosem_edge.cli.calibrate import Screen, run_session
from myosem_edge.cli.collect import finish
from myosem_edge.cli.main import main
from myosem_edge.clock import VirtualClock
from myosem_edge.errors import InputError
from myosem_edge.firmware_bridge.emulators.cyton import CytonEmulator
from myosem_edge.firmware_bridge.emulators.faults import Faults
from myosem_edge.firmware_bridge.emulators.pty import OnPty
from myosem_edge.firmware_bridge.emulators.sources import ArraySource, WearerSource
from myosem_edge.firmware_bridge.frontends.cyton import Cyton
from myosem_edge.learn.corpus.folders import load_sessions
from tests.calibration import tiny_model

RATE_HZ = 250.0
ACTIONS = ("fist", "hand_open", "wrist_flexion", "wrist_extension")
CONSENT = "made-up signals, nobody's"


class Person(Screen):
    """Who follows the prompts, wears a Cyton, and moves the clock."""

    waiting_bytes = 0

    def __init__(self, seed: int = 0, faults: Faults | None = None) -> None:
        self.clock, self.muscle, self.lines = VirtualClock(), tiny_model.Muscle(seed), list[str]()
        self.source = WearerSource([self.play("rest", 20.0)], RATE_HZ, self.clock)
        self.emulator = CytonEmulator(self.source, faults=faults)
        self.lazy: set[str] = set()
        self.stops_at: tuple[str, int] | None = None
        self._arrived = bytearray()

    def play(self, action: str, seconds: float) -> np.ndarray:
        return 10.0 * self.muscle.play(action, seconds * RATE_HZ / tiny_model.RATE_HZ)

    def say(self, text: str) -> None:
        self.lines.append(text)

    def prompt(self, prompt: Prompt, now_s: float) -> None:
        if prompt.kind == "hold" and self.stops_at == (prompt.action, prompt.repetition):
            raise KeyboardInterrupt
        if prompt.kind == "hold" and prompt.action not in ("rest", *self.lazy):
            self.source.perform(self.play(prompt.action, prompt.seconds), prompt.action)

    def read_available(self) -> bytes:
        data, self._arrived = bytes(self._arrived), bytearray()
        return data

    def write_some(self, data: bytes = b"") -> int:
        self.emulator.receive(data, self.clock.now_s())
        return len(data)

    def wait(self, seconds: float) -> None:
        for _ in range(5):
            self.emulator.tick(self.clock.advance(seconds / 5))
            self._arrived += self.emulator.to_send()

    def session(self, repetitions: int = 2, actions: tuple[str, ...] = ACTIONS) -> Collecting:
        plan = Plan(actions, repetitions, hold_s=2.0, prepare_s=0.5, relax_s=1.0)
        device = Cyton()
        session = Collecting(plan, device.info, 1, {})
        run_session(session, device, self, self.clock, self.wait, self, where="PORT")
        return session


def collected(folder: Path, person: str, session: Collecting, side: str = "right") -> int:
    return add_session(folder / FOLDER, person, montage_of(Cyton.info), side, CONSENT, session.recorded())


def test_every_hold_is_labelled_with_its_cue(tmp_path: Path) -> None:
    session = Person().session()
    assert collected(tmp_path, "ada", session) == 1
    with np.load(tmp_path / FOLDER / "ada.npz") as arrays:
        label, repetition = arrays["label"], arrays["repetition"]
        assert arrays["emg"].shape == (len(label), 8)
        assert arrays["rec_ptr"].tolist() == [0, len(label)]
    actions = read_collection(tmp_path / FOLDER).actions
    assert set(actions.values()) == {"rest", *ACTIONS}
    for number, action in actions.items():
        if action != "rest":
            for count in (1, 2):
                held = int(((label == number) & (repetition == count)).sum())
                assert held == pytest.approx(2.0 * RATE_HZ, abs=0.04 * RATE_HZ), action


def test_sessions_and_people_add_up_and_are_read_back(tmp_path: Path) -> None:
    first, second = Person(0).session(), Person(1).session(actions=(*ACTIONS, "forearm_pronation"))
    assert [collected(tmp_path, "ada", first), collected(tmp_path, "ada", second)] == [1, 2]
    assert collected(tmp_path, "bob", Person(2).session(), side="left") == 1
    sessions = load_sessions(tmp_path, ["own"])
    assert [(s.subject, s.name) for s in sessions] == [("ada", "1"), ("ada", "2"), ("bob", "1")]
    assert sessions[0].montage.rate_hz == RATE_HZ
    ids = load_catalogue().ids
    shown = [{ids[a] for clip in s.clips for a in np.unique(clip.action) if a >= 0} for s in sessions]
    assert shown[0] == {"rest", *ACTIONS}
    assert shown[1] == {"rest", *ACTIONS, "forearm_pronation"}


def test_a_hold_that_stays_bad_is_left_out_and_the_session_goes_on(tmp_path: Path) -> None:
    person = Person()
    person.lazy = {"hand_open"}
    session = person.session(repetitions=1)
    assert session.skipped == [("hand_open", 1)]
    assert [cue.action for cue in session.cues if cue.good] == ["rest", "fist", "wrist_flexion", "wrist_extension"]
    collected(tmp_path, "ada", session)
    with np.load(tmp_path / FOLDER / "ada.npz") as arrays:
        assert int((arrays["label"] == IGNORED).sum()) == pytest.approx(3 * 2.0 * RATE_HZ, abs=0.1 * RATE_HZ)
    (loaded,) = load_sessions(tmp_path, ["own"])
    assert load_catalogue().ids.index("hand_open") not in np.unique(loaded.clips[0].action)


def test_a_long_hole_parts_the_recording(tmp_path: Path) -> None:
    person = Person()
    whole = person.session(repetitions=1)
    assert len(whole.recorded().recordings) == 1
    middle_s = whole._times_s[0][len(whole._times_s[0]) // 2]
    whole._holes.append((middle_s - 1.0, middle_s))
    assert len(whole.recorded().recordings) == 2


def test_an_interrupted_session_keeps_its_finished_holds(tmp_path: Path) -> None:
    person = Person()
    person.stops_at = ("wrist_flexion", 1)
    plan = Plan(ACTIONS, 1, hold_s=2.0, prepare_s=0.5, relax_s=1.0)
    device = Cyton()
    session = Collecting(plan, device.info, 1, {})
    with pytest.raises(KeyboardInterrupt):
        run_session(session, device, person, person.clock, person.wait, person, where="PORT")
    said: list[dict[str, Any]] = []
    screen = Screen()
    screen.result = lambda facts, text: said.append(dict(facts))  # type: ignore[method-assign]
    finish(session, tmp_path / FOLDER, "ada", "right", CONSENT, screen)
    assert said[0]["holds"] == {"rest": 1, "fist": 1, "hand_open": 1, "wrist_flexion": 0, "wrist_extension": 0}
    assert not person.emulator.streaming


def test_what_does_not_fit_a_collection_is_refused(tmp_path: Path) -> None:
    montage = montage_of(Cyton.info)
    with pytest.raises(InputError, match="states what those who are recorded agreed to"):
        require_addable(tmp_path, "ada", montage, None)
    with pytest.raises(InputError, match="a pseudonym"):
        require_addable(tmp_path, "Ada Lovelace", montage, CONSENT)
    collected(tmp_path, "ada", Person().session(repetitions=1))
    folder = tmp_path / FOLDER
    assert require_addable(folder, "bob", montage, None) == CONSENT
    with pytest.raises(InputError, match="another consent"):
        require_addable(folder, "bob", montage, "anything goes")
    with pytest.raises(InputError, match="another front end"):
        require_addable(folder, "bob", montage_of(tiny_model_info()), None)


def tiny_model_info() -> Any:
    from myosem_edge.firmware_bridge.frontends.myo import Myo

    return Myo.info


@pytest.mark.parametrize("damage", ["{", '{"schema": 2}', '{"schema": 1, "montage": {}, "actions": {}, "consent": ""}'])
def test_a_damaged_collection_is_one_sentence(damage: str, tmp_path: Path) -> None:
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / "collection.json").write_text(damage)
    with pytest.raises(InputError, match=r"is damaged|another version"):
        read_collection(tmp_path / FOLDER)


def test_a_dry_run_prompts_nobody(tmp_path: Path) -> None:
    with OnPty(CytonEmulator(ArraySource(np.ones((10, 8)), RATE_HZ))) as device:
        arguments = ("--port", device.port, "--front-end", "cyton", "--out", str(tmp_path), "--person", "ada")
        result = CliRunner().invoke(main, ["collect", *arguments, "--consent", CONSENT, "--dry-run"])
        assert result.exit_code == 0, result.output
        assert "Nothing was prompted" in result.output
        result = CliRunner().invoke(main, ["collect", *arguments, "--consent", CONSENT, "--actions", "juggle"])
        assert result.exit_code != 0
    assert not (tmp_path / FOLDER).exists()


@pytest.mark.training
def test_recordings_become_a_model_and_a_bundle_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MYOSEM_HOME", str(tmp_path / "home"))
    for number, name in enumerate(("ada", "bob", "cyd", "dan")):
        for day in range(2):
            collected(tmp_path, name, Person(10 * number + day).session(repetitions=4))
    run = tmp_path / "run"
    for command in (
        ["train", "--family", "own", "--split", "user", "--init", "shipped", "--data", str(tmp_path),
         "--set", "steps=3", "--set", "episodes=2", "--set", "ways=3", "--out", str(run)],
        ["export", "--teacher", str(run / "teacher.safetensors"), "--data", str(tmp_path), "--name", "mine",
         "--bundle-version", "1", "--out", str(tmp_path / "mine.myosem"), "--max-int8-loss", "100"],
        ["verify", str(tmp_path / "mine.myosem")],
    ):  # fmt: skip
        result = CliRunner().invoke(main, command)
        assert result.exit_code == 0, result.output
    inspected = CliRunner().invoke(main, ["inspect", str(tmp_path / "mine.myosem"), "--json"])
    manifest = json.loads(inspected.output)
    assert "cyton" in json.dumps(manifest) and "own" in json.dumps(manifest)
