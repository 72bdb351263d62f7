"""Every reader of files that somebody else may have written: damaged, and forged with their checks made good again."""

from __future__ import annotations

import hashlib
import io
import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from functools import cache
from pathlib import Path

import numpy as np
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

sys.path += [str(Path(__file__).parents[1] / folder) for folder in ("attacks", "calibration")]

import bundle_forge as forge
import tiny_model
from test_profile import small
from tflite_forge import tiny_tflite

from myosem_edge.actions.catalogue import catalogue_path, load_catalogue
from myosem_edge.actions.table import read_table, table_path
from myosem_edge.archive import unpack
from myosem_edge.bundle import CAPS, read_bundle
from myosem_edge.calibration.collection import COLLECTION, read_collection
from myosem_edge.calibration.profile import MAGIC, Profile
from myosem_edge.errors import InputError
from myosem_edge.firmware_bridge.arrays import checked_emg, read_arrays, read_recording, require_borders
from myosem_edge.firmware_bridge.frontends.base import Chunk
from myosem_edge.firmware_bridge.frontends.myo import Myo
from myosem_edge.firmware_bridge.frontends.recording import About, read_recorded
from myosem_edge.firmware_bridge.hands import hand
from myosem_edge.keys import trust
from myosem_edge.manifest import Manifest
from myosem_edge.onnx_scan import scan_onnx
from myosem_edge.runtime.decision import Decision
from myosem_edge.runtime.decoder import Decoder, Model
from myosem_edge.runtime.emg_log import emg_events
from myosem_edge.runtime.gate import Inputs
from myosem_edge.runtime.gate_log import EMG, START
from myosem_edge.runtime.gate_replay import read_events, replay
from myosem_edge.runtime.grips import default_grips_path, load_grip_map
from myosem_edge.runtime.judge import Judge
from myosem_edge.runtime.limits import Limits
from myosem_edge.runtime.presets import load_presets
from myosem_edge.runtime.recorder import Recorder, finish, journal_of
from myosem_edge.runtime.replay import read_lines
from myosem_edge.tflite_scan import scan_tflite
from tests.fuzz.target import FILE, Target, drained, on_file

CHANNELS = tiny_model.CHANNELS


@cache
def folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="fuzz-"))


@cache
def tiny_bundle() -> bytes:
    path = folder() / "tiny-0.1.0.myosem"
    tiny_model.bundle_file(path, forge.KEY)
    return path.read_bytes()


def bundle() -> Target:
    path = folder() / "damaged.myosem"
    read = on_file(path, lambda file: read_bundle(file, forge.KEYS))
    return Target("bundle", [tiny_bundle(), forge.GOOD], read, FILE)


def forged_bundle() -> Target:
    """Signed by a trusted key with one member damaged, and used if it is read."""
    members = {name: bytes(view) for name, view in unpack(tiny_bundle(), CAPS, "tiny").items()}
    manifest = json.loads(members.pop("manifest.json"))
    del members["manifest.sig"]
    names = sorted(members)
    path = folder() / "forged.myosem"

    def take(data: bytes) -> None:
        name = names[data[0] % len(names)] if data else names[0]
        changed = {**members, name: data[1:]}
        path.write_bytes(forge.signed(changed, edit=lambda fields: _copied(fields, manifest)))
        decoder = Decoder(Model.from_bundle(read_bundle(path, forge.KEYS)), backend="reference")
        decoder.feed(Chunk(np.ones((100, CHANNELS), np.float32), 0, 0.0))

    return Target("forged bundle", [bytes((at,)) + members[name] for at, name in enumerate(names)], take, FILE)


def _copied(fields: dict[str, object], manifest: dict[str, object]) -> None:
    """The fields of a manifest, but for those that the forger has to make good."""
    fields.update({name: value for name, value in manifest.items() if name not in ("members", "key_id")})


def manifest() -> Target:
    seeds = [forge.parts()["manifest.json"], bytes(unpack(tiny_bundle(), CAPS, "tiny")["manifest.json"])]
    return Target("manifest", seeds, Manifest.from_bytes, FILE)


def archive() -> Target:
    return Target("archive", [forge.GOOD], lambda data: unpack(data, CAPS, "fuzz"), FILE)


def onnx() -> Target:
    return Target("onnx", [tiny_model.TINY_ONNX, forge.TINY_ONNX], lambda data: scan_onnx(data, "fuzz"), FILE)


def tflite() -> Target:
    return Target("tflite", [tiny_tflite()], lambda data: scan_tflite(data, "fuzz"), FILE)


def profile() -> Target:
    return Target("profile", [small().to_bytes()], Profile.from_bytes, FILE)


def forged_profile() -> Target:
    """The checksum is right, whatever is inside."""
    body = small().to_bytes()[len(MAGIC) + 32 :]
    return Target(
        "forged profile", [body], lambda data: Profile.from_bytes(MAGIC + hashlib.sha256(data).digest() + data), FILE
    )


def grip_map() -> Target:
    catalogue = load_catalogue()
    seed = default_grips_path().read_bytes()
    return Target("grip map", [seed], lambda data: load_grip_map(data, catalogue.ids, catalogue.grips), FILE)


def presets() -> Target:
    seed = b'hand = "servo_wrist"\n[grips.pinch]\nthumb = 0.55\nindex = 0.75\n[grips.pronate]\nwrist = 0.5\n'
    return Target("presets", [seed], lambda data: load_presets(data, hand("servo_wrist")), FILE)


def catalogue() -> Target:
    seed = catalogue_path().read_bytes()[:6000]
    return Target("catalogue", [seed], on_file(folder() / "c.toml", load_catalogue), FILE)


def description_table() -> Target:
    return Target("description table", [table_path().read_bytes()[:60000]], on_file(folder() / "t", read_table), FILE)


def emg() -> np.ndarray:
    return np.random.default_rng(1).normal(0, 20, (50, CHANNELS)).astype(np.float32)


def _saved(save: Callable[..., None], *arrays: object, **named: object) -> bytes:
    buffer = io.BytesIO()
    save(buffer, *arrays, **named)
    return buffer.getvalue()


def recordings() -> dict[str, Callable[[], Target]]:
    """EMG files by suffix, as `replay`, `emulate` and `query` read them."""

    def read(path: Path) -> None:
        arrays = read_arrays(path, ("emg", "rec_ptr"))
        samples = checked_emg(arrays["emg"], path, CHANNELS)
        if "rec_ptr" in arrays:
            require_borders(arrays["rec_ptr"], len(samples), path)
        read_recording(path, channels=CHANNELS)

    text = "\n".join(",".join(f"{value:.1f}" for value in row) for row in emg()[:20]).encode()
    seeds = {
        "npz": [
            _saved(np.savez, emg=emg(), rec_ptr=np.array([0, 20, 50])),
            _saved(np.savez_compressed, emg=emg(), rec_ptr=np.array([0, 50])),
        ],
        "npy": [_saved(np.save, emg())],
        "csv": [text, b"a,b,c,d,e,f,g,h\r\n" + text],
    }
    return {
        f"recording {suffix}": lambda suffix=suffix: Target(  # type: ignore[misc]
            f"recording {suffix}", seeds[suffix], on_file(folder() / f"r.{suffix}", read), FILE
        )
        for suffix in seeds
    }


def recorded() -> tuple[Path, bytes]:
    """A recording of `record` whose journal was not finished yet, and the journal's bytes."""
    path = folder() / "recorded.npz"
    for each in (path, journal_of(path)):
        each.unlink(missing_ok=True)
    recorder = Recorder(path, About(Myo.info), 0.0)
    recorder.add([Chunk(emg()[:20], 0, 0.1), Chunk(emg()[20:], 25, 0.3, lost=5)], 0.4)
    recorder.close()
    return path, journal_of(path).read_bytes()


def journal() -> Target:
    path, seed = recorded()

    def take(data: bytes) -> None:
        journal_of(path).write_bytes(data)
        path.unlink(missing_ok=True)
        finish(path)

    return Target("journal", [seed], take, FILE)


def own_recording() -> Target:
    path, _ = recorded()
    finish(path)
    return Target("own recording", [path.read_bytes()], on_file(folder() / "own.npz", read_recorded), FILE)


def gate_log() -> Target:
    """As `replay --log` reads it, which says of every KeyError, TypeError and ValueError that no gate logged that. What
    the run decoded is decoded again by a decoder that takes anything.
    """

    class Decoder:
        def feed(self, chunk: Chunk) -> list[Decision]:
            return []

    catalogue = load_catalogue()
    rules = load_grip_map(default_grips_path(), catalogue.ids, catalogue.grips)
    judge = Judge(rules, Limits(), frozenset({"power"}))
    events: list[dict[str, object]] = [{"event": START, "time_s": 0.0, "gate": judge.rules.to_dict()}]
    for number in range(3):
        decision = Decision(number, 1.0, "fist", 0.9, 0.5, 0.5, "calibrated", True, "")
        judge.weigh(decision, decision, 1.0 + 0.02 * number)
        chunk = Chunk(emg()[:5], 5 * number, 1.0)
        events += ({"event": EMG, "time_s": 1.0, **piece} for piece in emg_events(chunk))
        inputs = Inputs(1.0 + 0.02 * number, 0.01, 0.0, 0, judge.request)
        events += ({"event": kind, "time_s": 1.0, **facts} for kind, facts in judge.step(inputs, log=True)[2])
    seed = "".join(json.dumps(event) + "\n" for event in events).encode()
    take = on_file(folder() / "run.log", lambda path: drained(replay(read_events([path]), lambda start: Decoder())))
    return Target("gate log", [seed], take, (*FILE, KeyError, TypeError, ValueError))


def decision_lines() -> Target:
    line = {"recording": 0, "index": 1, "action": "rest", "accepted": True, "probability": 0.5, "source": "calibrated"}
    seed = "".join(json.dumps({**line, "index": number}) + "\n" for number in range(4)).encode()

    def take(data: bytes) -> None:
        try:
            text = data.decode()
        except UnicodeDecodeError as error:  # as the command does
            raise InputError("cannot be read") from error
        read_lines(text, "fuzz")

    return Target("decision lines", [seed], take, FILE)


def collection() -> Target:
    where = folder() / "collection"
    where.mkdir(exist_ok=True)
    montage = asdict(tiny_montage())
    seed = json.dumps({"schema": 1, "montage": montage, "actions": {"0": "rest", "1": "fist"}, "consent": "own use"})
    take = on_file(where / COLLECTION, lambda path: read_collection(path.parent))
    return Target("collection", [seed.encode()], take, FILE)


def tiny_montage() -> object:
    return Profile.from_bytes(small().to_bytes()).montage


def public_key() -> Target:
    """As `keys trust` reads it: a public key, never a private one."""
    import os

    os.environ["MYOSEM_HOME"] = str(folder() / "home")
    public = forge.STRANGER.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    private = forge.STRANGER.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return Target("public key", [public, private], on_file(folder() / "k.pub", lambda path: trust(path, "fuzz")), FILE)


def file_targets() -> dict[str, Callable[[], Target]]:
    """Every one, made when it is asked for."""
    makers = (
        bundle, forged_bundle, manifest, archive, onnx, tflite, profile, forged_profile, grip_map, presets,
        catalogue, description_table, journal, own_recording, gate_log, decision_lines, collection, public_key,
    )  # fmt: skip
    return {maker.__name__.replace("_", " "): maker for maker in makers} | recordings()
