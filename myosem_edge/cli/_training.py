"""What the training-side commands share: threads, progress bars, finding models and people."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from myosem_edge.errors import InputError

if TYPE_CHECKING:  # both belong to the training extras and are imported when they are needed
    from rich.progress import TaskID

    from myosem_edge.actions.catalogue import Catalogue
    from myosem_edge.learn.corpus.sessions import Session


data_option = click.option(
    "--data",
    type=click.Path(path_type=Path),
    required=True,
    envvar="MYOSEM_DATA",
    help="Folder that holds the data sets, one folder each (or $MYOSEM_DATA).",
)


def shipped_teacher() -> Path:
    """The teacher checkpoint that ships with the package."""
    return Path(__file__).parents[1] / "models" / "shipped.safetensors"


def one_thread() -> None:
    """On a busy machine two torch threads are slower than one: they wait for each other at every operator."""
    import torch

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))


def pick_device(wanted: str) -> str:
    """The device of this process; of several processes, each has a GPU of its own.

    Raises:
        InputError: a GPU was asked for and there is none.
    """
    import torch

    from myosem_edge.learn.teacher.parallel import own_device

    if wanted not in ("auto", "cpu") and wanted.partition(":")[0] != "cuda":
        raise InputError("no such device", found=wanted, expected="auto, cpu, cuda or cuda:0 and so on")
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    if wanted.startswith("cuda") and not torch.cuda.is_available():
        raise InputError("no GPU that torch can use", found=wanted, expected="cpu", todo="Use --device cpu")
    return own_device(wanted)


class Bar:
    """A progress bar on a terminal, a line now and then elsewhere; on standard error, so that output stays data.

    `quiet` shows nothing: of several processes one speaks.
    """

    def __init__(self, quiet: bool = False) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        self._console = Console(stderr=True)
        self._quiet = quiet
        self._live = self._console.is_terminal and not quiet
        self._progress = Progress(
            TextColumn("{task.description:28}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self._console,
        )
        self._task: TaskID | None = None
        self._stage = ""

    def update(self, stage: str, done: int, total: int, note: str = "") -> None:
        if self._quiet:
            return
        if not self._live:
            if stage != self._stage or done == total or done % max(1, total // 4) == 0:
                click.echo(f"{stage}: {done}/{total} {note}".rstrip() if total > 1 else stage, err=True)
            self._stage = stage
            return
        if stage != self._stage:
            if self._task is not None:
                self._progress.update(self._task, completed=self._progress.tasks[self._task].total)
            self._task = self._progress.add_task(stage, total=total)
            self._stage = stage
        assert self._task is not None
        self._progress.update(self._task, completed=done, description=f"{stage} {note}".strip()[:48])

    @contextmanager
    def shown(self) -> Iterator[Bar]:
        with self._progress if self._live else nullcontext():
            yield self


def read_sessions(data: Path, names: Sequence[str], catalogue: Catalogue, bar: Bar) -> list[Session]:
    """Every session of the named data sets, subject by subject on the bar."""
    from myosem_edge.learn.corpus.folders import load_sessions, subjects_of

    total = sum(len(subjects_of(data, name)) for name in names)
    done = iter(range(1, total + 1))
    return load_sessions(
        data, names, catalogue=catalogue, progress=lambda who: bar.update("read recordings", next(done), total)
    )
