"""`myosem-edge doctor`: is this machine fit to drive a hand, and what is to be done about it."""

from __future__ import annotations

import grp
import os
import sys
import time
from pathlib import Path
from typing import Any

import click

from myosem_edge import __version__
from myosem_edge.boards.checkup import Check, Host, Port, Status, check_machine, check_ports
from myosem_edge.boards.profiles import board as board_named
from myosem_edge.boards.profiles import detect_board, load_boards
from myosem_edge.boards.software import Software, check_packages, check_python, check_runtimes
from myosem_edge.cli._output import json_option, print_json
from myosem_edge.errors import MyosemError, RefusedError
from myosem_edge.files import user_folder

JSON_SCHEMA = 1
SYMBOLS = {Status.OK: ("✓", "+", "green"), Status.WARNING: ("!", "!", "yellow"), Status.PROBLEM: ("✗", "x", "red")}


@click.command()
@json_option
@click.option(
    "--board", "board_name", metavar="NAME", help="Check against this board's profile instead of the one found."
)
@click.option("--bundle", type=click.Path(path_type=Path), help="Also check a bundle, and which runtime would run it.")
@click.option("--port", metavar="PORT", help="Check only this serial port, as one that a device is to be wired to.")
@click.pass_context
def doctor(ctx: click.Context, as_json: bool, board_name: str | None, bundle: Path | None, port: str | None) -> None:
    """Check this machine and say what to do about what is not right.

    The exit code is 0 when nothing stands in the way (warnings do not), and 7 when there is a problem.
    """
    host, software = host_here(board_name), Software.here()
    runtimes = (host.board or next(iter(load_boards().values()))).runtimes
    bundle_checks, members = _bundle(bundle)
    checks = [
        check_python(software),
        check_packages(software),
        *check_runtimes(software, host.detection, runtimes, members),
        *check_machine(host),
        *check_ports(host, port),
        _keys(),
        *bundle_checks,
    ]
    if as_json:
        print_json(report(host, checks))
    else:
        _print(checks)
    if verdict(checks) is Status.PROBLEM:
        ctx.exit(RefusedError.exit_code)


def host_here(board_name: str | None = None, root: Path = Path("/")) -> Host:
    """The machine this runs on.

    Raises:
        InputError: there is no board of that name.
    """
    detection = detect_board(root)
    return Host(
        detection=detection,
        board=board_named(board_name) if board_name else detection.board,
        root=root,
        ports=_ports(),
        user_folder=user_folder(),
        may_open=lambda path: os.access(path, os.R_OK | os.W_OK),
        group_of=_group_of,
        clock_resolution_s=time.get_clock_info("monotonic").resolution,
        omp_threads=os.environ.get("OMP_NUM_THREADS"),
    )


def verdict(checks: list[Check]) -> Status:
    """The worst of all."""
    order = list(Status)
    return max((check.status for check in checks), key=order.index, default=Status.OK)


def report(host: Host, checks: list[Check]) -> dict[str, Any]:
    """What `--json` prints. Keys are only ever added; a change of meaning raises the schema number."""
    return {
        "schema": JSON_SCHEMA,
        "version": __version__,
        "verdict": verdict(checks).value,
        "board": {
            "name": host.board.name if host.board else None,
            "model": host.detection.model,
            "architecture": host.detection.architecture,
            "found_by": host.detection.found_by,
        },
        "checks": [
            {"name": check.name, "status": check.status.value, "found": check.found, "todo": check.todo}
            for check in checks
        ],
    }


def _ports() -> tuple[Port, ...]:
    try:
        from myosem_edge.firmware_bridge.port import list_ports
    except ImportError:  # pyserial is missing, which the list of packages says
        return ()
    return tuple(Port(found.path, found.description) for found in list_ports())


def _group_of(path: Path) -> str:
    try:
        return grp.getgrgid(path.stat().st_gid).gr_name
    except (OSError, KeyError):
        return "dialout"


def _keys() -> Check:
    try:
        from myosem_edge.keys import trusted_keys

        keys = trusted_keys()
    except ImportError as error:
        return Check("trusted keys", Status.PROBLEM, str(error), "Install the missing package")
    except MyosemError as error:
        return Check("trusted keys", Status.PROBLEM, str(error))
    if not keys:
        return Check(
            "trusted keys",
            Status.WARNING,
            "none: every bundle will be refused",
            "`myosem-edge keys trust FILE` for the maker's key, or `myosem-edge keys new NAME` for your own",
        )
    names = ", ".join(
        sorted(name + (" (dev: emulated hands only)" if is_dev else "") for name, _, is_dev in keys.values())
    )
    return Check("trusted keys", Status.OK, names)


def _bundle(path: Path | None) -> tuple[list[Check], tuple[str, ...] | None]:
    """The verdict on a bundle, and its members for the choice of a runtime (None: choose without one)."""
    if path is None:
        return [], None
    try:
        from myosem_edge.bundle import read_bundle
        from myosem_edge.keys import trusted_keys

        manifest = read_bundle(path, trusted_keys()).manifest
    except ImportError as error:
        return [Check("bundle", Status.PROBLEM, str(error), "Install the missing package")], None
    except MyosemError as error:
        return [Check("bundle", Status.PROBLEM, str(error))], None
    return [Check("bundle", Status.OK, f"{manifest.name} {manifest.version}")], tuple(manifest.members)


def _print(checks: list[Check]) -> None:
    plain = not _can_print("✓✗")
    width = max(len(check.name) for check in checks)
    for check in checks:
        rich_symbol, plain_symbol, colour = SYMBOLS[check.status]
        symbol = click.style(plain_symbol if plain else rich_symbol, fg=colour, bold=True)
        click.echo(f"{symbol} {check.name:<{width}}  {_printable(check.found)}")
        if check.todo:
            click.echo(f"  {'':<{width}}  {'->' if plain else '→'} {_printable(check.todo)}")
    problems = sum(check.status is Status.PROBLEM for check in checks)
    warnings = sum(check.status is Status.WARNING for check in checks)
    click.echo(f"{_count(problems, 'problem')}, {_count(warnings, 'warning')}")


def _count(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'' if number == 1 else 's'}"


def _can_print(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _printable(text: str) -> str:
    """As much of it as the terminal's alphabet has; a device may call itself anything."""
    encoding = sys.stdout.encoding or "ascii"
    shown = "".join(letter if letter.isprintable() else "?" for letter in text)
    return shown.encode(encoding, "replace").decode(encoding)
