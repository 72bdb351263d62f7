"""Train the teacher: resumable, seeded, on CPU or GPU, in one process or several.

An episode is a function of (seed, step, its number): a resumed run is the same run, and so is a divided one.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor, nn

from myosem_edge.actions.catalogue import Catalogue
from myosem_edge.actions.table import DescriptionTable
from myosem_edge.calibration.ring import activity_map, align_rings, best_shift
from myosem_edge.errors import InputError
from myosem_edge.files import write_atomic
from myosem_edge.learn.corpus.sessions import Session, require_trainable
from myosem_edge.learn.teacher import parallel
from myosem_edge.learn.teacher.acceleration import Encode, accelerated, require_precision
from myosem_edge.learn.teacher.batches import AugmentConfig, Sampler
from myosem_edge.learn.teacher.checkpoint import Trained, read_tensors
from myosem_edge.learn.teacher.config import require_between
from myosem_edge.learn.teacher.hidden import hide_actions
from myosem_edge.learn.teacher.initial import begin_from, digest
from myosem_edge.learn.teacher.loss import EpisodicRidge, contrastive_loss
from myosem_edge.learn.teacher.model import DescriptionProjection, Encoder, ModelConfig, require_ring, spoken
from myosem_edge.learn.teacher.pretrain import pretrain
from myosem_edge.signal.montage import ring_order

JUDGED_FRAMES = 12  # at the end of a segment; the others only warm the filters up
RANGES = {
    **dict.fromkeys(("steps", "episodes", "ways", "queries", "checkpoint_every"), (1, math.inf)),
    **dict.fromkeys(("text_rate", "weight_decay", "episodic_weight", "text_weight"), (0.0, 1e6)),
    "segment_frames": (JUDGED_FRAMES, math.inf),
    "pretrain_steps": (0, math.inf),
    "judged_frames": (1, JUDGED_FRAMES),
    "learning_rate": (1e-12, 1e3),
    "spoken_share": (0.0, 1.0),
}


@dataclass(frozen=True)
class TrainConfig:
    """A run. Loss weights are switches: 0 turns a part off."""

    model: ModelConfig = field(default_factory=ModelConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    seed: int = 0
    steps: int = 2000
    pretrain_steps: int = 0  # of foreseeing the signal, before anything is named (see pretrain.py)
    episodes: int = 10  # sessions per step
    ways: int = 7
    queries: int = 2
    segment_frames: int = 26  # 0.65 s
    judged_frames: int = 6  # frames of a segment that enter the loss
    learning_rate: float = 3e-3
    text_rate: float = 0.1  # of the learning rate, for the description projection
    weight_decay: float = 0.02
    episodic_weight: float = 1.0
    text_weight: float = 0.4
    spoken_share: float = 0.0  # of the descriptions of a step: one of their sentences stands in every view's place
    hidden_actions: str = ""  # ids with commas between them: never learnt, whatever the split (see hidden.py)
    checkpoint_every: int = 100
    precision: str = "fp32"  # of the encoder's forward pass; losses are in float32

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**63:
            raise InputError("no such seed", found=self.seed, expected="0 to 2**63 - 1")
        require_between(self, RANGES)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


Progress = Callable[[int, dict[str, float]], None]


def require_able(config: TrainConfig, device: str) -> None:
    """Raises:
    InputError: this device or this number of processes cannot do it.
    """
    require_precision(config.precision, device)
    parallel.share(config.episodes)


def align_sessions(sessions: Sequence[Session], catalogue: Catalogue) -> dict[str, np.ndarray]:
    """Rotate every session to the ring its labels agree on; returns the templates by action id."""
    rings = sessions[0].montage.turning_rings
    shifts, templates = align_rings([session_map(session) for session in sessions], rings=rings)
    for session, shift in zip(sessions, shifts, strict=True):
        session.shift = shift
    return {catalogue.ids[k]: row.astype(np.float32) for k, row in templates.items()}


def align_to(sessions: Sequence[Session], templates: Mapping[str, np.ndarray], catalogue: Catalogue) -> None:
    """Rotate every session to the templates of a trained model, by its own labels."""
    rows = {catalogue.ids.index(action): row for action, row in templates.items()}
    for session in sessions:
        session.shift = best_shift(session_map(session), rows, rings=session.montage.turning_rings)[0]


def align_like(sessions: Sequence[Session], start: Trained, catalogue: Catalogue) -> dict[str, np.ndarray]:
    """Rotate every session to the rings of the model that is gone on from, as far as it has rings of this size;
    returns the templates by action id.
    """
    montage = sessions[0].montage
    known = {action: row for action, row in start.ring_templates.items() if len(row) == montage.channels}
    if not known or not montage.turning_rings:
        return align_sessions(sessions, catalogue)
    align_to(sessions, known, catalogue)
    maps: dict[str, list[np.ndarray]] = {}
    for session in sessions:
        order = ring_order(montage.channels, session.shift, False, montage.turning_rings)
        for action, row in session_map(session).items():
            maps.setdefault(catalogue.ids[action], []).append(row[order])
    return known | {action: np.mean(rows, axis=0).astype(np.float32) for action, rows in maps.items()}


def session_map(
    session: Session, keep: Callable[[int, int], bool] = lambda action, repetition: True
) -> dict[int, np.ndarray]:
    """Mean log RMS per action of a session's believed frames, in the session's own scale."""
    energies, actions = [], []
    for clip in session.clips:
        energy = clip.mean_square() / np.square(session.scale)
        chosen = np.array([a >= 0 and keep(int(a), int(r)) for a, r in zip(clip.action, clip.repetition, strict=True)])
        energies.append(energy[chosen])
        actions.append(clip.action[chosen])
    return activity_map(np.concatenate(energies), np.concatenate(actions))


def train(
    config: TrainConfig,
    sessions: Sequence[Session],
    catalogue: Catalogue,
    table: DescriptionTable,
    *,
    family: str,
    provenance: dict[str, Any],
    run_folder: Path | None = None,
    start: Trained | None = None,
    device: str = "cpu",
    compiled: bool = False,
    progress: Progress = lambda step, numbers: None,
) -> Trained:
    """Train on sessions (their rings are aligned here), from the weights of `start` where they fit. With `run_folder`
    the run can be interrupted and resumed.

    Inside `parallel.joined` the episodes of a step are divided over the processes, all of which return the same model;
    the first one alone writes and calls `progress`.

    Raises:
        InputError: no session, or the run folder holds a run with another configuration, split or data, or a damaged
            one; or the device or the number of processes does not fit.
        MyosemError: another process of this training ended.
    """
    require_able(config, device)
    if not sessions:
        raise InputError("no session to train on", todo="Check the subjects and data sets that were chosen")
    if config.ways < 2 and config.episodic_weight:
        raise InputError("an episode needs at least two actions", found=config.ways)
    if config.hidden_actions:
        sessions = hide_actions(sessions, config.hidden_actions, catalogue)
    require_trainable(sessions, config.model.channels, config.model.frame_samples, len(catalogue))
    require_ring(config.model, sessions[0].montage)
    templates = align_sessions(sessions, catalogue) if start is None else align_like(sessions, start, catalogue)
    torch.manual_seed(config.seed)
    raw = torch.from_numpy(table.vectors)
    seen = sorted({int(a) for session in sessions for clip in session.clips for a in np.unique(clip.action) if a >= 0})
    text_mean = raw[seen].mean(dim=0) if start is None else start.text_mean
    centred = (raw - text_mean).to(device)
    encoder = Encoder(config.model)
    projection = DescriptionProjection(raw - text_mean, config.model.embedding, config.model.text_whitening)
    fresh = [] if start is None else begin_from(encoder, projection, start)
    encoder, projection = encoder.to(device), projection.to(device)
    ridge, log_scale = EpisodicRidge().to(device), nn.Parameter(torch.tensor(2.5, device=device))
    groups = [
        {"params": [*encoder.parameters(), *ridge.parameters(), log_scale], "rate": 1.0},
        {"params": [*projection.parameters()], "rate": config.text_rate},
    ]
    optimiser = torch.optim.AdamW(groups, lr=config.learning_rate, weight_decay=config.weight_decay)
    parts = nn.ModuleDict({"encoder": encoder, "projection": projection, "ridge": ridge})
    parts.register_parameter("log_scale", log_scale)
    history: list[dict[str, float]] = []
    first = 0
    identity = {
        "family": family,
        "split": provenance.get("split"),
        "people": sorted({session.person for session in sessions}),
        "recordings": _digest_labels(sessions),
        "catalogue texts": catalogue.texts_sha256,
        "description table": hashlib.sha256(table.to_bytes()).hexdigest(),
        **config.to_dict(),
        **({} if start is None else {"start": digest(start)}),
    }
    if run_folder is not None and (run_folder / "resume.safetensors").exists():
        first, history = _resume(run_folder / "resume.safetensors", identity, parts, optimiser)
    parallel.begin_alike(parts, device, identity, first, [session.shift for session in sessions])
    encode = accelerated(encoder, config.precision, device, compiled)
    sampler = Sampler(sessions, config.segment_frames, config.segment_frames - JUDGED_FRAMES, config.augment)
    ways = sampler.fair_ways(config.ways, config.queries)
    if config.pretrain_steps and not first:
        _pretrain(config, encoder, sampler, ways, progress)
    gallery = torch.tensor(seen, device=device)
    row_of = {action: row for row, action in enumerate(seen)}
    encoder.train()
    for step in range(first, config.steps):
        rate = _one_cycle(step / config.steps)
        for group in optimiser.param_groups:
            group["lr"] = config.learning_rate * rate * group["rate"]
        rng = np.random.default_rng([config.seed, step])  # what the episodes share
        own = [episode_generator(config.seed, step, number) for number in parallel.share(config.episodes)]
        x, actions, mask = sampler.masked_episodes(own, ways, config.queries)
        rows = torch.tensor([[row_of[int(a)] for a in way] for way in actions], device=device)
        texts = spoken(centred[gallery], config.spoken_share, rng)
        prototypes = projection(texts, encoder.view_weights)
        numbers = _step_losses(config, encode, prototypes, ridge, log_scale, x, mask, rows, rng, device)
        optimiser.zero_grad()
        numbers["loss"].backward()
        parallel.add_gradients(parts.parameters())
        nn.utils.clip_grad_norm_(parts.parameters(), 5.0)
        optimiser.step()
        row = parallel.total(numbers)
        if not math.isfinite(row["loss"]):
            raise InputError(
                "training diverged",
                found=f"loss {row['loss']} at step {step + 1}",
                todo="Choose a lower learning_rate; the checkpoint before this step is kept",
            )
        history.append({"step": float(step), **row})
        if not parallel.is_first():
            continue
        progress(step + 1, row)
        if run_folder is not None and ((step + 1) % config.checkpoint_every == 0 or step + 1 == config.steps):
            _save_resume(run_folder / "resume.safetensors", step + 1, identity, parts, optimiser, history)
    encoder.eval()
    provenance = {
        **provenance,
        "train": config.to_dict(),
        "actions": [catalogue.ids[k] for k in seen],
        "history": history[:: max(1, len(history) // 100)],
    }
    if start is not None:
        provenance["start"] = {"family": start.family, "people": start.provenance.get("people"), "begun_anew": fresh}
    return Trained(encoder.cpu(), projection.cpu(), text_mean, templates, family, provenance)


def episode_generator(seed: int, step: int, number: int) -> np.random.Generator:
    """What one episode of a step is drawn from, whichever process draws it."""
    return np.random.default_rng(np.random.SeedSequence([seed, step], spawn_key=(number,)))


def _pretrain(config: TrainConfig, encoder: Encoder, sampler: Sampler, ways: int, progress: Progress) -> None:
    """On segments of the same kind as in training, drawn anew; which action they show is not looked at."""
    own = parallel.share(config.episodes)

    def batches() -> Iterator[Tensor]:
        for step in range(config.pretrain_steps):
            numbers = [config.episodes + number for number in own]  # no episode of the training itself
            x, _ = sampler.episodes([episode_generator(config.seed, step, n) for n in numbers], ways, config.queries)
            yield torch.from_numpy(x).flatten(0, 2)

    def say(loss: float) -> None:
        if parallel.is_first():
            progress(0, {"loss": loss, "recall": 0.0})

    settled = config.segment_frames - JUDGED_FRAMES
    pretrain(encoder, batches(), config.pretrain_steps, settled, len(own) / config.episodes, _one_cycle, say)


def _step_losses(
    config: TrainConfig,
    encode: Encode,
    prototypes: Tensor,
    ridge: EpisodicRidge,
    log_scale: Tensor,
    x: np.ndarray,
    mask: np.ndarray | None,
    rows: Tensor,
    rng: np.random.Generator,
    device: str,
) -> dict[str, Tensor]:
    """This process's parts of the losses of the whole step: the sum over all processes is the loss."""
    episodes, ways, repetitions = x.shape[:3]
    present = None if mask is None else torch.from_numpy(mask).to(device).repeat_interleave(ways * repetitions, 0)
    h, z = encode(torch.from_numpy(x).to(device).flatten(0, 2), None, present)
    frames = rng.permutation(JUDGED_FRAMES)[: config.judged_frames] - JUDGED_FRAMES
    h, z = h[:, frames], z[:, frames]
    labels = rows[:, :, None, None].expand(episodes, ways, repetitions, len(frames))
    # Every description is compared with the EMG of all processes, so each of them knows this loss whole.
    each = ways * repetitions * len(frames)
    start, whole = parallel.share(config.episodes).start * each, config.episodes * each
    z, shown = parallel.gathered(z.flatten(0, 1), start, whole), parallel.gathered(labels.flatten(), start, whole)
    text = contrastive_loss(z, shown, prototypes, log_scale.exp()) / parallel.world()
    with torch.no_grad():
        recall = (z @ prototypes.T).argmax(1).eq(shown).float().mean() / parallel.world()
    h = h.reshape(episodes, ways, repetitions, len(frames), -1)
    local = torch.arange(ways, device=device)[None, :, None, None].expand(episodes, ways, repetitions, len(frames))
    episodic = ridge(
        h[:, :, 0].flatten(1, 2),
        local[:, :, 0].flatten(1, 2),
        h[:, :, 1:].flatten(1, 3),
        local[:, :, 1:].flatten(1, 3),
        ways,
    )
    episodic = episodic * (episodes / config.episodes)
    loss = config.text_weight * text + config.episodic_weight * episodic
    return {"loss": loss, "text": text, "episodic": episodic, "recall": recall}


def _one_cycle(progress: float, warm: float = 0.15) -> float:
    """Share of the top learning rate: linear warm-up, cosine decay (Smith 2018)."""
    if progress < warm:
        return 0.04 + 0.96 * progress / warm
    return 0.5 * (1 + math.cos(math.pi * (progress - warm) / (1 - warm))) + 1e-3


def _digest_labels(sessions: Sequence[Session]) -> str:
    """What is learnt from: who, how much, and which frames carry which action. Samples are left out, since the last
    bits of a filtered signal differ between machines.
    """
    digest = hashlib.sha256()
    for session in sessions:
        digest.update(json.dumps([session.person, session.name, session.montage.channels, len(session.clips)]).encode())
        for clip in session.clips:
            for values in (clip.action, clip.repetition):
                digest.update(np.asarray(values, "<i8").tobytes())
    return digest.hexdigest()


def _save_resume(
    path: Path,
    step: int,
    identity: Mapping[str, Any],
    parts: nn.Module,
    optimiser: torch.optim.Optimizer,
    history: list[dict[str, float]],
) -> None:
    tensors = {f"model.{name}": value.detach().cpu().contiguous() for name, value in parts.state_dict().items()}
    for index, state in optimiser.state_dict()["state"].items():
        for name, value in state.items():
            tensors[f"optimiser.{index}.{name}"] = torch.as_tensor(value).detach().cpu().clone().contiguous()
    shapes = {name: list(value.shape) for name, value in tensors.items()}
    header = {"step": step, "run": identity, "tensors": shapes, "history": history}
    write_atomic(path, save(tensors, {"myosem": json.dumps(header)}))


def _resume(
    path: Path, identity: Mapping[str, Any], parts: nn.Module, optimiser: torch.optim.Optimizer
) -> tuple[int, list[dict[str, float]]]:
    """Going on with other data or another split would train on people who are to be judged: any difference is refused.

    Raises:
        InputError: the file is of another run, or is damaged.
    """
    tensors, header = read_tensors(path)
    wanted, found = json.loads(json.dumps(identity)), header.get("run")
    found = found if isinstance(found, dict) else {}
    changed = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
    if changed:
        raise InputError(
            "the interrupted run here was of another kind",
            where=path,
            found=f"different {', '.join(changed)}",
            todo="Repeat the command exactly, or choose another --out folder",
        )
    try:
        listed = header["tensors"]
        if wrong := sorted(
            name
            for name in listed.keys() | tensors.keys()
            if name not in listed or name not in tensors or listed[name] != list(tensors[name].shape)
        ):
            raise ValueError(f"missing, foreign or of another shape: {', '.join(wrong[:3])}")
        parts.load_state_dict({name[6:]: value for name, value in tensors.items() if name.startswith("model.")})
        saved = optimiser.state_dict()
        for name, value in tensors.items():
            if name.startswith("optimiser."):
                _, index, key = name.split(".", 2)
                saved["state"].setdefault(int(index), {})[key] = value
        optimiser.load_state_dict(saved)
        return int(header["step"]), list(header["history"])
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            "is not a whole interrupted run",
            where=path,
            found=str(error).splitlines()[0],
            todo="Remove it to begin anew, or choose another --out folder",
        ) from error
