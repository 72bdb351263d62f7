"""The pages that lead a newcomer are run: every line of their `sh` blocks, and every table that repeats numbers.

A line runs as it stands, in a folder with a demonstration bundle, unless `HOW` says otherwise. The ports in the text
become those of an emulated armband and hand.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import click
import pytest

from myosem_edge import errors
from myosem_edge.cli.main import READER_GONE, STOPPED, load
from myosem_edge.firmware_bridge.arrays import read_recording
from myosem_edge.firmware_bridge.emulators.ability import AbilityEmulator
from myosem_edge.firmware_bridge.emulators.myo import MyoEmulator
from myosem_edge.firmware_bridge.emulators.pty import OnPty
from myosem_edge.firmware_bridge.emulators.sources import ArraySource
from myosem_edge.firmware_bridge.frontends import FRONT_ENDS, SOURCES
from myosem_edge.firmware_bridge.frontends.chords import BOARDS
from myosem_edge.firmware_bridge.frontends.options import options_of
from myosem_edge.firmware_bridge.hands import HANDS
from myosem_edge.runtime.limits import Limits

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "CONTRIBUTING.md", "docs/first-hour.md", "docs/hands.md")
BUNDLE = "demo-report/demo.myosem"
RECORDING = ROOT / "myosem_edge" / "sample" / "myo_readings8" / "p12548.npz"
ARMBAND, HAND = "/dev/serial/by-id/ARMBAND", "/dev/serial/by-id/HAND"
LINE_S = 120.0

# What is done with a command instead of running it as it stands.
HOW = {
    "train": "options",  # needs the full data sets
    "evaluate": "options",
    "profile show": "options",  # a profile comes from a wearer who follows prompts
    "profile accept": "options",
    "profile undo": "options",
    "export": "--dry-run",  # minutes
    "calibrate": "--dry-run",  # needs a wearer who follows prompts
    "run": "--seconds 1",
    "bench": "options",  # a minute of real time
    "keys new": "with a home of its own",
    "emulate": "until it prints its port",
}


def lines(page: str) -> list[str]:
    blocks = re.findall(r"^```sh\n(.*?)^```$", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return [line for block in blocks for line in block.splitlines() if line.strip() and not line.startswith("#")]


def every_line() -> list[tuple[str, str]]:
    return list(dict.fromkeys((page, line) for page in PAGES for line in lines(page)))


def table_rows(page: str, heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, header and rule left out."""
    text = "\n" + (ROOT / page).read_text(encoding="utf-8")
    section = text.split(f"\n{heading}\n", 1)[1]
    rows = re.search(r"(?:^\|.*\n)+", section, re.MULTILINE)
    assert rows is not None
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[0].splitlines()[2:]]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as it is after the demonstration: a bundle, the key that signed it, the sample."""
    folder = tmp_path_factory.mktemp("bench")
    (folder / "myosem_edge").symlink_to(ROOT / "myosem_edge")
    (folder / "demo-report").mkdir()
    finished = program(folder, f"export --out {BUNDLE} --size 15k --steps 5 --max-int8-loss 100")
    assert finished.returncode == 0, finished.stderr
    assert program(folder, "keys new maker").returncode == 0
    return folder


@pytest.fixture(scope="module")
def ports() -> Iterator[dict[str, str]]:
    emg = read_recording(RECORDING, channels=8)
    armband, hand = MyoEmulator(ArraySource(emg, 200.0, loop=True)), AbilityEmulator()
    with OnPty(armband) as front_end_port, OnPty(hand) as hand_port:
        yield {ARMBAND: front_end_port.port, HAND: hand_port.port}


def environment(folder: Path, home: Path | None = None) -> dict[str, str]:
    return {**os.environ, "MYOSEM_HOME": str(home or folder / "home"), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def program(folder: Path, arguments: str, home: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "myosem_edge", *shlex.split(arguments)],
        cwd=folder,
        env=environment(folder, home),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LINE_S,
    )


def check_options(words: list[str]) -> None:
    """Whether the command exists and takes these words; it is not run."""
    command: click.Command | None = load(words[0])
    assert command is not None, words[0]
    rest = words[1:]
    while isinstance(command, click.Group):
        command = command.commands[rest.pop(0)]
    command.make_context(words[0], rest)


def port_of(folder: Path, words: list[str]) -> str:
    """The first line of a program that goes on until Ctrl-C."""
    command = [sys.executable, "-m", "myosem_edge", *words]
    with subprocess.Popen(command, cwd=folder, env=environment(folder), stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        try:
            return running.stdout.readline().strip()
        finally:
            running.send_signal(signal.SIGINT)
            running.wait(LINE_S)


@pytest.mark.parametrize(("page", "line"), every_line())
def test_a_line_of_the_page_works(page: str, line: str, bench: Path, ports: dict[str, str], tmp_path: Path) -> None:
    for name, port in ports.items():
        line = line.replace(name, port)
    words = shlex.split(line)
    if words[0] == "make":
        assert re.search(rf"^{re.escape(words[1])}:", (ROOT / "Makefile").read_text(), re.MULTILINE), line
        return
    if words[0] == ".":
        assert words[1:] == [".venv/bin/activate"]
        return
    assert words.pop(0) == "myosem-edge", line
    how = next((HOW[name] for name in (words[0], " ".join(words[:2])) if name in HOW), "as it stands")
    if how == "options":
        check_options(words)
    elif how.startswith("until"):
        assert port_of(bench, words).startswith("/dev/pts/")
    elif "$(" in line:
        shown = program(bench, line.split("$(myosem-edge ", 1)[1].split(")", 1)[0]).stdout.strip()
        finished = program(bench, re.sub(r'"\$\(.*?\)"', shlex.quote(shown), line).removeprefix("myosem-edge "))
        assert finished.returncode == 0, finished.stderr
    else:
        words = [word for i, word in enumerate(words) if "--profile" not in (word, words[i - 1])]
        if how.startswith("--") and "--dry-run" not in words:
            words += how.split()
        if words[0] == "export":  # the teacher in the text is the reader's own
            words = [word for i, word in enumerate(words) if "--teacher" not in (word, words[i - 1])]
        finished = program(bench, shlex.join(words), tmp_path if how.startswith("with") else None)
        problems_of_this_machine = {7} if words[0] == "doctor" else set()
        assert finished.returncode in {0, *problems_of_this_machine}, finished.stdout + finished.stderr
        assert finished.stdout.strip() or words[0] == "profile", line


def test_nothing_is_excused_that_no_page_shows() -> None:
    shown = " ".join(line for _, line in every_line())
    assert [name for name in HOW if f"myosem-edge {name}" not in shown] == []


def test_the_first_page_says_what_matters_first() -> None:
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    sentences = (
        "The wearer can always stop or open the hand at once.",
        "The hand never moves harder, faster, longer or more often than the limits that were set for this wearer, "
        "whatever the model says.",
        "This is not a medical device.",
        "make demo",
    )
    places = [" ".join(page.split()).find(sentence) for sentence in sentences]
    assert -1 not in places
    assert places == sorted(places)
    assert not re.search(r"\breproduces\b", page)


def test_the_first_page_lists_the_hardware_there_is() -> None:
    rows = " ".join(" ".join(row) for row in table_rows("README.md", "## What works today"))
    assert all(f"`--front-end {name}`" in rows for name in FRONT_ENDS)
    assert all(f"`--hand {name}`" in rows for name in HANDS)
    assert all(f"`--front-end {name}:" in rows for name in SOURCES)
    assert all(driver.info.name in rows for driver in (*FRONT_ENDS.values(), *SOURCES.values(), *HANDS.values()))
    assert rows.count("--front-end") == len(FRONT_ENDS) + len(SOURCES)
    assert rows.count("--hand") == len(HANDS)


@pytest.mark.parametrize(
    "page", sorted(str(path.relative_to(ROOT)) for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")))
)
def test_every_link_leads_somewhere(page: str) -> None:
    text = re.sub(r"^```.*?^```$", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    targets = [target.partition("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", text)]
    wrong = [
        target
        for target in targets
        if target and "://" not in target and not (ROOT / page).parent.joinpath(target).exists()
    ]
    assert wrong == []


def test_the_index_of_the_documentation_is_complete() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    pages = [path.name for path in (ROOT / "docs").glob("*.md") if path.name != "README.md"]
    assert [name for name in pages if f"({name})" not in index] == []


@pytest.mark.sr("SR-16")
def test_the_limits_on_the_page_are_those_of_the_gate() -> None:
    limits = Limits()
    expected = [
        [f"`{each.name}`", f"{getattr(limits, each.name):g}", each.metadata["unit"], each.metadata["tighter"]]
        for each in fields(limits)
    ]
    assert table_rows("docs/limits.md", "## What the gate enforces") == expected


def test_the_facts_of_hands_and_front_ends_on_the_page_are_those_of_the_drivers() -> None:
    hands = [
        [
            info.name,
            *(f"{value:g}" for value in (info.limits.max_speed, info.limits.max_force, info.limits.max_commands_per_s)),
            f"{info.limits.max_speed_step:g}",
            f"{info.limits.max_close_s:g} s",
            "none" if info.keep_alive_s is None else f"{info.keep_alive_s:g} s",
            *("yes" if has else "no" for has in (info.has_force, info.rotates_wrist)),
        ]
        for info in (hand.info for hand in HANDS.values())
    ]
    assert sorted(table_rows("docs/limits.md", "## What a hand adds")) == sorted(hands)
    front_ends = [
        [
            info.name,
            *(
                "as told" if name in options and options[name].required else value
                for name, value in (("channels", str(info.channels)), ("rate_hz", f"{info.rate_hz:g} Hz"))
            ),
            info.unit,
            info.loss_visible_by,
        ]
        for info, options in ((driver.info, options_of(driver)) for driver in FRONT_ENDS.values())
    ]
    assert sorted(table_rows("docs/limits.md", "## What a front end gives")) == sorted(front_ends)


def test_everything_a_front_end_can_be_told_is_on_its_page() -> None:
    told = [row[:2] for row in table_rows("docs/front-ends.md", "## What they have to be told")]
    drivers = FRONT_ENDS | SOURCES
    options = [[f"`{name}`", f"`{option}`"] for name, driver in drivers.items() for option in options_of(driver)]
    assert sorted(told) == sorted(options)


def test_the_boards_on_the_page_are_those_of_the_driver() -> None:
    rows = table_rows("docs/front-ends.md", "## Upside Down Labs Chords firmware")
    listed = {board.strip(" `"): row[1:] for row in rows for board in row[0].split(",")}
    assert listed == {
        name: [str(kind.channels), f"{kind.rate_hz:g} Hz", str(kind.bits)] for name, kind in BOARDS.items()
    }


def test_the_exit_codes_on_the_page_are_those_of_the_program() -> None:
    rows = {row[0]: row[1:] for row in table_rows("docs/exit-codes.md", "# Exit codes")}
    kinds = errors.MyosemError.__subclasses__()
    expected = {str(kind.exit_code): [f"`{kind.__name__}`", (kind.__doc__ or "").strip()] for kind in kinds}
    assert {code: row for code, row in rows.items() if code in expected} == expected
    others = {0, errors.MyosemError.exit_code, click.UsageError.exit_code, STOPPED, READER_GONE}
    assert rows.keys() - expected.keys() == {str(code) for code in others}
