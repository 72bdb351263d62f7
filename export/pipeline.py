"""The whole way from a teacher to a bundle on disk, and what every step cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from myosem_edge.actions.catalogue import Catalogue, load_catalogue
from myosem_edge.actions.table import load_table
from myosem_edge.bundle import write_bundle
from myosem_edge.errors import InputError, RefusedError
from myosem_edge.export.assemble import Student, manifest, members
from myosem_edge.export.card import model_card
from myosem_edge.export.distil import WARM_FRAMES, DistilConfig, distil, size_name
from myosem_edge.export.measure import Cost, cost, int8_encode, operating_point
from myosem_edge.files import require_writable
from myosem_edge.learn.corpus.sessions import Session
from myosem_edge.learn.montages.measurement import settled
from myosem_edge.learn.scoring.embed import torch_encode
from myosem_edge.learn.teacher.batches import Sampler
from myosem_edge.learn.teacher.checkpoint import Trained
from myosem_edge.learn.teacher.spatial import HARMONIC
from myosem_edge.learn.teacher.train import align_to
from myosem_edge.manifest import NAME, VERSION
from myosem_edge.quantize.fake_body import FakeBody
from myosem_edge.quantize.operations import Operations, count_operations
from myosem_edge.quantize.rounded_training import train_rounded
from myosem_edge.quantize.sensitivity import Harm, sensitivity
from myosem_edge.quantize.statistics import fold_front, front_features, observed_body
from myosem_edge.runtime.encoder import view_scale
from myosem_edge.runtime.grips import GripMap
from myosem_edge.signal.montage import electrode_positions

CALIBRATION_SECONDS = 12  # of each calibration clip that the ranges are measured on
GOLDEN_SECONDS = 5
MAX_INT8_LOSS = 0.5  # points of accuracy, zero-shot or after calibration, int8 against float


@dataclass(frozen=True)
class Step:
    """One line of the export's report."""

    name: str
    seconds: float
    parameters: int
    bytes: int
    cost: Cost | None = None


@dataclass
class Export:
    """What an export produced."""

    path: Path
    sha256: str = ""
    steps: list[Step] = field(default_factory=list)
    operations: Operations | None = None
    layers: list[Harm] = field(default_factory=list)  # what each rounding does on the judges

    @property
    def int8_loss(self) -> tuple[float, float]:
        """Points that int8 costs the float student on the judges: zero-shot R@1, and after calibration."""
        exact, rounded = [step.cost for step in self.steps if step.cost is not None][-2:]
        return exact.zero_shot - rounded.zero_shot, exact.calibrated - rounded.calibrated

    def to_dict(self) -> dict[str, Any]:
        return {
            "bundle": str(self.path),
            "sha256": self.sha256,
            "steps": [asdict(step) for step in self.steps],
            "operations": self.operations.to_dict() if self.operations else None,
            "int8_loss": dict(zip(("zero_shot", "calibrated"), self.int8_loss, strict=True)),
            "layers": [harm.to_dict() for harm in self.layers],
        }


Progress = Callable[[str, int, int], None]  # stage, done, total


def export_bundle(
    teacher: Trained,
    distil_sessions: Sequence[Session],
    judge_sessions: Sequence[Session],
    out: Path,
    key: Ed25519PrivateKey,
    *,
    name: str,
    version: str,
    grips: GripMap,
    config: DistilConfig,
    same_people: bool = False,
    max_int8_loss: float = MAX_INT8_LOSS,
    rounded_steps: int = 0,
    layers: bool = False,
    progress: Progress = lambda stage, done, total: None,
) -> Export:
    """Distil, quantise, measure, sign, write.

    With `same_people` the judges may be people it was distilled on, in other sessions or repetitions: for a model of
    one person's own. With `rounded_steps` the body is trained with its roundings in place, with `layers` it is
    measured which of them hurts.

    Raises:
        InputError: no name or version for a bundle, nobody to distil on or to judge by, or a person in both.
        RefusedError: int8 loses more than `max_int8_loss` points on the judges.
        StorageError: the bundle cannot be written; an older one stays.
    """
    check_target(out, name, version)
    catalogue, table = load_catalogue(), load_table()
    _check_people(distil_sessions, judge_sessions, same_people)
    ids = catalogue.ids
    if teacher.encoder.config.spatial == HARMONIC:  # a bundle is for one montage
        teacher = settled(teacher, electrode_positions(judge_sessions[0].montage))
    align_to(distil_sessions, teacher.ring_templates, catalogue)
    prototypes = teacher.prototypes(table).numpy()
    gallery = retrieval_gallery(teacher, grips, catalogue)
    judged_gallery = sorted(
        {int(a) for s in judge_sessions for clip in s.clips for a in np.unique(clip.action) if a >= 0}
    )

    def judge(trained: Trained, encode: Any) -> Cost:
        return cost(judge_sessions, trained, encode, ids, judged_gallery, prototypes)

    export, clock = Export(out), time.perf_counter
    progress("judge the teacher", 0, 1)
    judged = judge(teacher, torch_encode(teacher))
    export.steps.append(_step("teacher, float32", 0.0, 0.0, teacher, 4, judged))
    begun = clock()
    student = distil(teacher, distil_sessions, table, config, lambda step, _: progress("distil", step, config.steps))
    ended, size = clock(), size_name(student.encoder.config)
    if student is not teacher:
        progress("judge the student", 0, 1)
        judged = judge(student, torch_encode(student))
    export.steps.append(_step(f"student {size}, float32", begun, ended, student, 4, judged))
    begun = clock()
    progress("quantise", 0, 1)
    front = fold_front(student.encoder)
    fake = rounding_body(student, distil_sessions, config, rounded_steps, progress)
    body = fake.integers()
    view_weights = student.encoder.view_weights.detach().numpy()
    encode = int8_encode(front, body, view_weights)
    progress("judge int8", 0, 1)
    export.steps.append(_step(f"student {size}, int8", begun, clock(), student, 1, judge(student, encode)))
    export.operations = count_operations(front, body)
    if layers:
        progress("round layer by layer", 0, 1)
        features = front_features(student.encoder, calibration_segments(judge_sessions))
        views = torch.from_numpy(view_scale(view_weights))
        export.layers = sensitivity(fake, features, torch.from_numpy(prototypes[gallery]), views)
    begun = clock()
    progress("operating point", 0, 1)
    point = operating_point(distil_sessions, student, encode, ids, gallery, prototypes)
    montage = judge_sessions[0].montage
    built = Student(front, body, view_weights, student, table, prototypes, gallery, point, montage)
    metrics = _metrics(export, judge_sessions)
    samples, scale = _golden(judge_sessions)
    card = model_card(name, version, teacher, config, metrics)
    parts = members(built, catalogue, grips.to_toml().encode(), card, samples, scale)
    zero_shot, calibrated = export.int8_loss
    if max(zero_shot, calibrated) > max_int8_loss:
        raise RefusedError(
            "int8 costs too much accuracy on the judges",
            where=out,
            found=f"{zero_shot:.2f} points zero-shot, {calibrated:.2f} calibrated",
            expected=f"at most {max_int8_loss:.2f}",
            todo="Train with rounding (--rounded-steps), choose a larger --size, or raise --max-int8-loss",
        )
    progress("sign and write", 0, 1)
    export.sha256 = write_bundle(out, manifest(built, name, version, metrics), parts, key)
    export.steps.append(Step("operating point, bundle", clock() - begun, 0, out.stat().st_size))
    return export


def check_target(out: Path, name: str, version: str) -> None:
    """What would stop the last step is better known before the first.

    Raises:
        InputError: no name or version for a bundle, or no folder to write it to.
        StorageError: it cannot be written there.
    """
    for option, value, pattern, expected in (
        ("name", name, NAME, "lower-case letters, digits, dot, dash or underscore, at most 64"),
        ("version", version, VERSION, "letters, digits, dot, plus, dash or underscore, at most 64"),
    ):
        if not pattern.fullmatch(value):
            raise InputError(f"not a {option} for a bundle", found=ascii(value[:80]), expected=expected)
    if not out.parent.is_dir():
        raise InputError("no such folder", where=out.parent, todo="Create it or choose another --out")
    require_writable(out)


def retrieval_gallery(teacher: Trained, grips: GripMap, catalogue: Catalogue) -> list[int]:
    """Rows that may be retrieved on the board: what the teacher has seen, and whatever the grip map names."""
    names = {*teacher.provenance["actions"], *grips.actions}
    return sorted(catalogue.ids.index(action) for action in names)


def _check_people(train: Sequence[Session], judges: Sequence[Session], same_people: bool) -> None:
    if not train or not judges:
        raise InputError(
            "an export needs people to distil on and people to judge by",
            found=f"{len(train)} and {len(judges)} sessions",
        )
    both = {s.person for s in train} & {s.person for s in judges}
    if both and not same_people:
        raise InputError(
            "a person is on both sides", found=", ".join(sorted(both)), expected="judges whom nothing was trained on"
        )


def rounding_body(
    student: Trained, sessions: Sequence[Session], config: DistilConfig, steps: int, progress: Progress
) -> FakeBody:
    """The student's body with the ranges of these people, trained with its roundings for so many steps."""
    body = observed_body(student.encoder, calibration_segments(sessions))
    if not steps:
        return body
    sampler = Sampler(sessions, config.segment_frames, WARM_FRAMES, config.augment)

    def batches() -> Iterator[torch.Tensor]:
        for step in range(steps):
            rng = np.random.default_rng([config.seed, config.steps + step])
            x, _ = sampler.episodes([rng] * config.episodes, config.ways)
            yield from front_features(student.encoder, [x.reshape(-1, *x.shape[-2:])])

    trained = train_rounded(
        body, batches(), steps, WARM_FRAMES, lambda step, _: progress("train with rounding", step, steps)
    )
    return trained.eval()


def calibration_segments(sessions: Sequence[Session]) -> list[np.ndarray]:
    """Twelve seconds of every labelled clip, (1, channels, samples): what ranges are measured on."""
    segments = []
    for session in sessions:
        n = round(CALIBRATION_SECONDS * session.montage.rate_hz)
        for clip in session.clips:
            if (clip.action >= 0).any():
                x = session.canonical(clip)[:n]
                segments.append(np.ascontiguousarray(x[: len(x) // 5 * 5].T)[None])
    return segments


def _golden(sessions: Sequence[Session]) -> tuple[np.ndarray, np.ndarray]:
    """Five seconds of real EMG that crosses an onset: the filtered signal of a judge in whole counts, and its scale."""
    session = sessions[0]
    clip = next(clip for clip in session.clips if (clip.action > 0).any())
    onset = int(np.flatnonzero(clip.action > 0)[0]) * 5
    n = round(GOLDEN_SECONDS * session.montage.rate_hz)
    begin = max(0, onset - n // 2)
    return np.rint(clip.x[begin : begin + n]).astype(np.float32), session.scale


def _step(name: str, begun: float, ended: float, trained: Trained, width: int, judged: Cost) -> Step:
    parameters = sum(p.numel() for p in trained.encoder.parameters())
    return Step(name, ended - begun, parameters, parameters * width, judged)


def _metrics(export: Export, judges: Sequence[Session]) -> dict[str, Any]:
    rows = {
        step.name: {
            "zero_shot_r1": round(step.cost.zero_shot, 2),
            "calibrated_1_repetition": round(step.cost.calibrated, 2),
            "log_feature_lda": round(step.cost.log_lda, 2),
            "hudgins_lda": round(step.cost.hudgins_lda, 2),
        }
        for step in export.steps
        if step.cost is not None
    }
    people = sorted({s.person for s in judges})
    return {"judges": {"people": ", ".join(people), "unit": "percent right per hop, actions balanced", **rows}}
