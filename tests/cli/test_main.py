"""The root command: it lists everything and imports nothing, and no mistake of a user ends in a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from myosem_edge import __version__, errors
from myosem_edge.cli import main as cli
from myosem_edge.cli._output import print_json, table
from myosem_edge.cli.main import COMMANDS, Entry, main
from myosem_edge.errors import BundleError, InputError, MyosemError

HEAVY = {
    "numpy",
    "torch",
    "onnxruntime",
    "ai_edge_litert",
    "onnx",
    "scipy",
    "cryptography",
    "serial",
    "safetensors",
    "matplotlib",
    "rich",
}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MYOSEM_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MYOSEM_DEBUG", raising=False)
    return tmp_path / "home"


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Put a function behind the command `try`."""

    def put(function: Callable[[], object]) -> None:
        module = types.ModuleType("myosem_edge_try")
        module.command = click.command("try")(lambda: function())  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "myosem_edge_try", module)
        monkeypatch.setattr(cli, "COMMANDS", {"Test": {"try": Entry("myosem_edge_try:command", "Try.")}})

    return put


def raising(error: BaseException) -> Callable[[], object]:
    def function() -> object:
        raise error

    return function


def run(*args: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, list(args))
    return result.exit_code, result.stdout, result.stderr


def python(program: str, *args: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", program, *args], text=True, check=False, **options)  # type: ignore[call-overload, no-any-return]


@pytest.mark.parametrize("argument", ["--help", "-h", "--version", ""])
def test_listing_imports_no_library(argument: str) -> None:
    program = (
        "import sys\nfrom myosem_edge.cli.main import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit as error:\n    print(error.code, *sys.modules)"
    )
    arguments = [argument] if argument else []
    done = python(program, *arguments, capture_output=True)
    code, *modules = done.stdout.splitlines()[-1].split()
    assert code in ("0", "2")
    assert not HEAVY & set(modules)
    ours = {name for name in modules if name.startswith("myosem_edge.")}
    assert ours <= {f"myosem_edge.{name}" for name in ("cli", "cli.main", "cli._output", "errors", "files")}


def test_help_lists_every_command_under_its_heading() -> None:
    code, text, _ = run("--help")
    assert code == 0
    place = 0
    for heading, entries in COMMANDS.items():
        place = text.index(f"\n{heading}:\n", place)
        for name, entry in entries.items():
            place = text.index(f"\n  {name} ", place)
            assert entry.help in text[place:].splitlines()[1]


def test_every_command_has_a_place_and_one_line() -> None:
    for entries in COMMANDS.values():
        for name, entry in entries.items():
            module, _, attribute = entry.place.partition(":")
            assert module.startswith("myosem_edge.cli.")
            assert attribute == name
            assert entry.help.endswith(".")
            assert len(entry.help) < 65


def test_version() -> None:
    assert run("--version")[:2] == (0, f"myosem-edge, version {__version__}\n")


def test_unknown_command_is_wrong_usage() -> None:
    code, _, err = run("bogus")
    assert code == 2
    assert "No such command 'bogus'" in err


@pytest.mark.parametrize("kind", [kind for kind in vars(errors).values() if isinstance(kind, type)])
def test_each_error_is_one_line_and_its_own_exit_code(
    kind: type[Exception], command: Callable[[Callable[[], object]], None]
) -> None:
    if not issubclass(kind, MyosemError):
        pytest.fail(f"errors.py holds {kind}, which is none of ours")
    command(raising(kind("broken\nin two", where="a\x1b[2J.toml", found=1, expected=2, todo="Mend it")))
    assert run("try") == (
        kind.exit_code,
        "",
        "error: a\\x1b[2J.toml: broken in two (found 1, expected 2). Mend it\n",
    )


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.Abort(), EOFError()])
def test_stopping_is_not_an_error(error: BaseException, command: Callable[[Callable[[], object]], None]) -> None:
    command(raising(error))
    code, out, err = run("try")
    assert (code, out, err.strip()) == (130, "", "stopped")


def test_exit_codes_of_commands_pass_through(command: Callable[[Callable[[], object]], None]) -> None:
    command(lambda: click.get_current_context().exit(4))
    assert run("try")[0] == 4
    command(raising(SystemExit(7)))
    assert run("try")[0] == 7
    command(lambda: 5)  # a value, not an exit code
    assert run("try")[0] == 0


@pytest.mark.parametrize(
    ("number", "words"),
    [(28, "cannot be written: No space left on device"), (30, "cannot be written: Read-only file system")],
)
def test_a_full_disk_is_a_storage_error(
    number: int, words: str, command: Callable[[Callable[[], object]], None]
) -> None:
    command(raising(OSError(number, os.strerror(number), "/a/log")))
    assert run("try") == (8, "", f"error: /a/log: {words}. Free some space or choose another place\n")


def test_a_forbidden_file_is_a_storage_error(command: Callable[[Callable[[], object]], None]) -> None:
    command(raising(PermissionError(13, "Permission denied", "/a")))
    assert run("try") == (8, "", "error: /a: cannot be used: Permission denied\n")


@pytest.mark.parametrize("error", [ZeroDivisionError("division by zero"), OSError(5, "Input/output error")])
def test_a_defect_is_one_line_and_a_kept_traceback(
    error: Exception, home: Path, command: Callable[[Callable[[], object]], None]
) -> None:
    command(raising(error))
    code, out, err = run("try")
    (kept,) = (home / "crashes").iterdir()
    assert (code, out) == (1, "")
    assert err == f"error: a defect in myosem-edge: {type(error).__name__}: {error}. The traceback is in {kept}\n"
    text = kept.read_text()
    assert text.startswith(f"myosem-edge {__version__}\nTraceback")
    assert "in function" in text
    assert kept.stat().st_mode & 0o777 == 0o600


def test_a_defect_where_nothing_can_be_kept(home: Path, command: Callable[[Callable[[], object]], None]) -> None:
    home.write_text("a file where the folder should be")
    command(raising(ZeroDivisionError("division by zero")))
    code, _, err = run("try")
    assert code == 1
    assert "ZeroDivisionError: division by zero. The traceback could not be kept: cannot be written" in err
    assert "Traceback (most" not in err


def test_a_defect_of_a_user_without_a_home(
    monkeypatch: pytest.MonkeyPatch, command: Callable[[Callable[[], object]], None]
) -> None:
    for name in ("MYOSEM_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)

    def nobody() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", nobody)
    command(raising(ZeroDivisionError("division by zero")))
    code, _, err = run("try")
    assert code == 1
    assert "ZeroDivisionError: division by zero. The traceback could not be kept: no home folder" in err


def test_a_defect_in_keeping_a_defect_is_told_too(
    monkeypatch: pytest.MonkeyPatch, command: Callable[[Callable[[], object]], None]
) -> None:
    monkeypatch.setattr(cli, "write_atomic", lambda *_, **__: 1 / 0)
    command(raising(ValueError("mine")))
    code, _, err = run("try")
    assert code == 1
    assert "ValueError: mine. The traceback could not be kept: division by zero" in err


def test_debugging_shows_the_raw_traceback(
    monkeypatch: pytest.MonkeyPatch, home: Path, command: Callable[[Callable[[], object]], None]
) -> None:
    monkeypatch.setenv("MYOSEM_DEBUG", "1")
    command(raising(ZeroDivisionError("division by zero")))
    result = CliRunner().invoke(main, ["try"])
    assert isinstance(result.exception, ZeroDivisionError)
    assert not home.exists()


def test_a_command_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "COMMANDS", {"Test": {"try": Entry("myosem_edge.cli.absent:absent", "Try.")}})
    assert run("try") == (
        1,
        "",
        "error: the command try is not part of this installation (found no module myosem_edge.cli.absent)."
        " Install myosem-edge again\n",
    )


@pytest.mark.parametrize(
    ("package", "install"),
    [("torch", "'myosem-edge[train]'"), ("tokenizers.models", "'myosem-edge[text]'"), ("serial", "'myosem-edge'")],
)
def test_a_missing_package_names_what_to_install(
    package: str, install: str, command: Callable[[Callable[[], object]], None]
) -> None:
    command(raising(ModuleNotFoundError(f"No module named '{package}'", name=package)))
    code, _, err = run("try")
    assert code == InputError.exit_code
    assert f"Python package {package.partition('.')[0]}, which is not installed" in err
    assert f"pip install {install}\n" in err


def test_a_package_missing_at_import_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "COMMANDS", {"Test": {"try": Entry("a_package_that_is_absent:command", "Try.")}})
    assert "the command try needs the Python package a_package_that_is_absent" in run("try")[2]


def test_a_caller_that_wants_exceptions_gets_them(command: Callable[[Callable[[], object]], None]) -> None:
    command(raising(BundleError("broken")))
    with pytest.raises(BundleError):
        main(["try"], standalone_mode=False)


SPEAK = (
    "import sys, types, click\nfrom myosem_edge.cli import main as cli\n"
    "module = types.ModuleType('speak')\nsys.modules['speak'] = module\n"
    "module.command = click.command()(lambda: [click.echo('line ' * 50) for _ in range(5000)] and None)\n"
    "cli.COMMANDS = {'Test': {'speak': cli.Entry('speak:command', 'Speak.')}}\ncli.main(['speak'])"
)


@pytest.mark.parametrize(
    ("program", "code"),
    [
        (SPEAK, 141),
        (
            SPEAK.replace("[click.echo('line ' * 50) for _ in range(5000)] and None", "sys.stdout.write('kept back')"),
            141,
        ),
        ("from myosem_edge.cli.main import main\nmain(['--help'])", 1),  # click's own doing, quiet too
    ],
    ids=["while it speaks", "at the last flush", "in the help"],
)
def test_a_closed_reader_ends_quietly(program: str, code: int) -> None:
    read, write = os.pipe()
    os.close(read)
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    try:
        done = python(program, stdout=write, stderr=subprocess.PIPE, env=buffered)
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (code, "")


def test_a_full_output_is_a_storage_error() -> None:
    with Path("/dev/full").open("w") as full:
        done = python(SPEAK, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 8
    assert done.stderr == (
        "error: cannot be written: No space left on device. Free some space or choose another place\n"
    )


def test_another_broken_pipe_is_not_taken_for_a_closed_reader(
    home: Path, command: Callable[[Callable[[], object]], None]
) -> None:
    command(raising(BrokenPipeError(32, "Broken pipe")))
    code, _, err = run("try")
    assert code == 1
    assert "a pipe to another process broke" in err
    assert len(list((home / "crashes").iterdir())) == 1


def test_completion_imports_nothing_and_offers_every_command() -> None:
    context = click.Context(main)
    offered = [item.value for item in main.shell_complete(context, "e")]
    assert offered == ["evaluate", "export", "emulate"]
    assert "--version" in [item.value for item in main.shell_complete(context, "--")]


def test_python_dash_m_is_the_same_program() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "myosem_edge", "--version"], text=True, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, f"myosem-edge, version {__version__}\n")


def test_tables_line_up_and_show_no_control_characters() -> None:
    assert table([("a", 1), ("long", "\x1b[31m")], ("name", "n")) == "name  n\na     1\nlong  \\x1b[31m"


def test_json_output_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"b": 1, "a": [True]})
    assert capsys.readouterr().out == '{\n  "a": [\n    true\n  ],\n  "b": 1\n}\n'
    with pytest.raises(ValueError, match="not JSON compliant"):
        print_json(float("nan"))


STREAMS = (
    "import os, subprocess, sys, types, click\nfrom myosem_edge.cli import main as cli\n"
    "def look():\n"
    "    sys.stdin.read(), click.echo('out'), click.echo('err', err=True)\n"
    "    port = os.open(os.devnull, os.O_RDWR)\n"
    "    child = subprocess.run([sys.executable, '-c', 'import os; [os.fstat(n) for n in range(3)]'])\n"
    "    with open(os.environ['FOUND'], 'w') as file:\n"
    "        file.write(f'{port > 2} {child.returncode}')\n"
    "module = types.ModuleType('look')\nsys.modules['look'] = module\n"
    "module.command = click.command()(look)\n"
    "cli.COMMANDS = {'Test': {'look': cli.Entry('look:command', 'Look.')}}\ncli.main(['look'])"
)


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_not_taken_over_by_what_is_opened_next(closed: str, tmp_path: Path) -> None:
    found = tmp_path / "found"
    done = subprocess.run(
        ["/bin/sh", "-c", f'"$0" -c "$1" {closed}', sys.executable, STREAMS],
        env={**os.environ, "FOUND": str(found)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert found.read_text() == "True 0"
    assert done.stdout == ("" if ">&-" in closed.replace("2>&-", "") else "out\n")
    assert done.stderr == ("" if "2>&-" in closed else "err\n")
