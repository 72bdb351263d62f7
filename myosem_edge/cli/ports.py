"""`myosem-edge ports`: which serial ports there are, what may be on them, and which front end is on one of them."""

from __future__ import annotations

import select
from collections.abc import Callable

import click

from myosem_edge.cli._output import json_option, plain, print_json, table
from myosem_edge.clock import MonotonicClock
from myosem_edge.errors import DeviceError
from myosem_edge.firmware_bridge.detect import Detection, Found, steps
from myosem_edge.firmware_bridge.port import SerialPort, list_ports, state_of
from myosem_edge.firmware_bridge.usb import suggestion

TICK_S = 0.02
WARNING = (
    "Nothing of it is a command of any hand that is supported here; no real hand was tried. "
    "Opening the port restarts some boards, an Arduino with a hand on it among them: keep fingers away."
)


@click.command()
@click.option("--ask", "asked", metavar="PORT", help="Find out which front end is on this port.")
@click.option("--yes", is_flag=True, help="With --ask: do not ask me first.")
@json_option
def ports(asked: str | None, yes: bool, as_json: bool) -> None:
    """List serial ports, and what their USB ids suggest; listing opens none and sends nothing.

    --ask opens one port, listens, and then asks what each driver would have it asked, for half a minute at most; it
    says beforehand what that is.
    """
    if asked is None:
        _list(as_json)
        return
    if not yes:
        click.echo(f"{asked} would be opened, listened to, and sent this, until something answers:", err=True)
        for step in steps():
            if step.send:
                click.echo(f"  {step.what}", err=True)
        click.echo(WARNING, err=True)
        click.confirm(f"Ask {asked}?", abort=True, err=True)
    found = find_front_end(asked, lambda sentence: click.echo(plain(sentence), err=True))
    if as_json:
        told = {"option": found.told, "missing": found.missing or None, "facts": dict(found.facts)}
        print_json({"port": asked, "front_end": found.info.id, "name": found.info.name, **told})
        return
    click.echo(plain(f"{asked}: {found.info.name}, --front-end {found.told}"))
    if found.missing:
        click.echo(plain(f"  it also has to be told {found.missing}"))
    for fact, value in found.facts.items():
        click.echo(plain(f"  {fact}: {value}"))


def find_front_end(path: str, say: Callable[[str], object]) -> Found:
    """What is on that port. Nothing was started there, so nothing has to be stopped; the port is closed in any case.

    Raises:
        DeviceError: the port cannot be opened or vanishes, no driver recognises its device there, or several do.
    """
    clock = MonotonicClock()
    with SerialPort(path, steps()[0].baud) as port:
        detection = Detection(clock.now_s())
        shown, data = None, b""
        while not detection.finished:
            if detection.step is not shown:
                shown = detection.step
                say(f"{path}: {shown.what}")
            outgoing = detection.advance(data, clock.now_s())
            port.set_baud(detection.baud)
            port.write_some(outgoing)
            select.select((port,), (), (), TICK_S)
            data = port.read_available()
    if len(detection.found) == 1:
        return detection.found[0]
    if detection.found:
        raise DeviceError(
            "several front ends recognise it",
            where=path,
            found=" and ".join(found.told for found in detection.found),
            todo="Name the one that it is with --front-end",
        )
    raise _unknown(path, detection)


def _unknown(path: str, detection: Detection) -> DeviceError:
    heard = "; ".join(f"{ascii(data)[1:]} at {baud} baud" for baud, data in detection.heard_of.items())
    todo = "Switch it on, check that this is its port, or name it: --front-end NAME:OPTION=VALUE (docs/front-ends.md)"
    if detection.repeats:
        todo = "It repeats what it is told, as a Brunel hand does and no front end: choose another port"
    return DeviceError("no front end was recognised", where=path, found=heard or "silence", todo=todo)


def _list(as_json: bool) -> None:
    found = [(port, state_of(port.path), suggestion(port.usb_id)) for port in list_ports()]
    if as_json:
        print_json(
            [
                {
                    "port": port.path,
                    "description": port.description,
                    "usb_id": port.usb_id,
                    "state": state,
                    "chip": may.chip,
                    "front_ends": list(may.front_ends),
                    "hands": list(may.hands),
                }
                for port, state, may in found
            ]
        )
    elif found:
        rows = [(port.path, port.description, port.usb_id, state, may.words) for port, state, may in found]
        click.echo(table(rows, ("port", "what it says", "USB id", "state", "may be")))
        click.echo("Which front end is on one of them: myosem-edge ports --ask PORT")
    else:
        click.echo("There is no serial port. `myosem-edge doctor` says what to look at.")
