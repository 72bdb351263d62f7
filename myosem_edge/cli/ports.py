"""`myosem-edge ports`: which serial ports there are, and which front end is on one of them."""

from __future__ import annotations

import select
from collections.abc import Callable, Sequence

import click

from myosem_edge.cli._output import json_option, plain, print_json, table
from myosem_edge.clock import MonotonicClock
from myosem_edge.errors import DeviceError
from myosem_edge.firmware_bridge.detect import ATTEMPT_S, Attempt, candidates
from myosem_edge.firmware_bridge.frontends import FRONT_ENDS
from myosem_edge.firmware_bridge.frontends.base import FrontEnd
from myosem_edge.firmware_bridge.port import PortInfo, SerialPort, list_ports

TICK_S = 0.02
WARNING = (
    "Every front end is asked in its own words. If a prosthetic hand is on this port instead, take care: none of the "
    "emulated ones moves at it, and no real one was tried."
)


@click.command()
@click.option("--ask", "asked", metavar="PORT", help="Find out which front end is on this port.")
@click.option("--yes", is_flag=True, help="With --ask: do not ask me first.")
@json_option
def ports(asked: str | None, yes: bool, as_json: bool) -> None:
    """List serial ports; listing opens none and sends nothing.

    --ask opens one port and lets the drivers try it, for a minute at most. Not found so: csv, which has to be told how
    it was built, and hackeeg and chords, whose questions could move a hand.
    """
    if asked is None:
        _list(list_ports(), as_json)
        return
    if not yes:
        click.confirm(f"{WARNING} Ask {asked}?", abort=True, err=True)
    found = find_front_end(asked, lambda sentence: click.echo(plain(sentence), err=True))
    if as_json:
        print_json({"port": asked, "front_end": found.info.id, "name": found.info.name, "facts": dict(found.facts)})
        return
    click.echo(f"{asked}: {found.info.name}, --front-end {found.info.id}")
    for fact, value in found.facts.items():
        click.echo(plain(f"  {fact}: {value}"))


def find_front_end(path: str, say: Callable[[str], object]) -> FrontEnd:
    """The driver whose device is on that port, stopped again.

    Raises:
        DeviceError: the port cannot be opened or vanishes, or no driver finds its device there.
    """
    clock = MonotonicClock()
    tried: list[str] = []
    for driver in candidates():
        say(f"{path}: {driver.info.name}? (up to {ATTEMPT_S:.0f} s)")
        why = _try(driver, path, clock)
        if why is None:
            return driver
        tried.append(f"{driver.info.id}: {why}")
    raise DeviceError(
        "no front end was recognised",
        where=path,
        found="; ".join(tried),
        todo="Is it switched on, and is this its port? Some have to be named: --front-end hackeeg, chords, or csv:...",
    )


def _try(driver: FrontEnd, path: str, clock: MonotonicClock) -> str | None:
    """None where it is that driver's device, or why not."""
    with SerialPort(path, driver.info.baud) as port:
        attempt = Attempt(driver, clock.now_s())
        try:
            data = b""
            while attempt.verdict is None:
                port.write_some(attempt.step(data, clock.now_s()))
                select.select((port,), (), (), TICK_S)
                data = port.read_available()
        finally:
            port.write_some(attempt.finish(clock.now_s()))
    return None if attempt.verdict else attempt.why


def _list(found: Sequence[PortInfo], as_json: bool) -> None:
    known = {usb_id: name for name, kind in FRONT_ENDS.items() for usb_id in kind.usb_ids}
    rows = [(port.path, port.description, port.usb_id, known.get(port.usb_id, "")) for port in found]
    if as_json:
        print_json([dict(zip(("port", "description", "usb_id", "front_end"), row, strict=True)) for row in rows])
    elif rows:
        click.echo(table(rows, ("port", "what it says", "USB id", "front end")))
        click.echo("What is on one of them: myosem-edge ports --ask PORT")
    else:
        click.echo("There is no serial port. `myosem-edge doctor` says what to look at.")
