"""What each of several processes does in the tests: `torchrun ... -m tests.learn.processes TASKS FOLDER`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from myosem_edge.actions.catalogue import load_catalogue
from myosem_edge.actions.table import load_table
from myosem_edge.errors import MyosemError
from myosem_edge.learn.teacher import parallel
from myosem_edge.learn.teacher.batches import AugmentConfig
from myosem_edge.learn.teacher.checkpoint import Trained
from myosem_edge.learn.teacher.model import BatchNorm, ModelConfig
from myosem_edge.learn.teacher.train import TrainConfig, train
from tests.learn.conftest import made_up_session

# Five episodes: two processes have two and three of them.
CONFIG = TrainConfig(
    model=ModelConfig(width=32, mixtures=12, filters=3, semantic_queries=True),
    augment=AugmentConfig(noise=0.1),
    steps=6,
    pretrain_steps=2,
    episodes=5,
    ways=4,
    queries=1,
    spoken_share=0.2,
    checkpoint_every=3,
)


class Interrupted(Exception):
    pass


def trained(
    folder: Path | None = None,
    config: TrainConfig = CONFIG,
    stop_after: int | None = None,
    said: list[str] | None = None,
) -> Trained:
    """A small training on made-up people; in how many processes it runs does not matter."""

    def progress(step: int, row: dict[str, float]) -> None:
        if said is not None:
            said.append(str(step))
        if step == stop_after:
            raise Interrupted

    return train(
        config,
        [made_up_session(seed, subject=f"s{seed}") for seed in range(4)],
        load_catalogue(),
        load_table(),
        family="research",
        provenance={"split": {"kind": "user"}},
        run_folder=folder,
        progress=progress,
    )


def result(model: Trained) -> tuple[dict[str, Tensor], list[dict[str, float]]]:
    """Weights and history."""
    weights = {**model.encoder.state_dict(), "projection": model.projection.matrix.detach()}
    return {name: value.contiguous() for name, value in weights.items()}, model.provenance["history"]


def normalised(first: int, stop: int) -> dict[str, Tensor]:
    """Batch normalisation of rows first..stop of a batch of five, with what it leaves and passes back."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(5, 7, 11, generator=generator) * 3 + torch.arange(7.0)[:, None] * 10
    target = torch.randn(5, 7, 11, generator=generator)
    norm = BatchNorm(7)
    mine = x[first:stop].clone().requires_grad_()
    for _ in range(2):
        y = norm(mine)
    (y * target[first:stop]).sum().backward()
    parallel.add_gradients(norm.parameters())
    gradient, y = (parallel.gathered(part.detach(), first, 5) for part in (mine.grad, y))
    return {**norm.state_dict(), "y": y, "dx": gradient, "dw": norm.weight.grad, "db": norm.bias.grad}


def main(tasks: str, folder: Path) -> None:
    torch.set_num_threads(1)
    with parallel.joined("cpu"):
        number = parallel.rank()
        for task in tasks.split(","):
            if task == "norm":
                own = parallel.share(5)
                save_file(normalised(own.start, own.stop), folder / f"norm{number}.safetensors")
            elif task == "quarrel":
                other = replace(CONFIG, learning_rate=0.001 * (1 + number))
                (folder / f"quarrel{number}.txt").write_text(error_of(lambda config=other: trained(config=config)))
            elif task == "run":
                spoken: list[str] = []
                weights, history = result(trained(folder, said=spoken))
                save_file(weights, folder / f"run{number}.safetensors")
                (folder / f"history{number}.json").write_text(json.dumps(history))
                (folder / f"spoken{number}.txt").write_text(" ".join(spoken))
            else:  # the first process fails in step 4; the other must not wait for ever
                assert task == "interrupt"
                (folder / f"end{number}.txt").write_text(error_of(lambda: trained(folder, stop_after=4)))
                raise SystemExit(0)


def error_of(call: Callable[[], object]) -> str:
    try:
        call()
    except (Interrupted, MyosemError) as error:
        return f"{type(error).__name__} {error}"
    return "no error"


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
