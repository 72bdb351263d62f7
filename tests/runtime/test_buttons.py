"""Buttons on GPIO lines: what they mean, what they refuse, and that stop beats everything with and without samples.

No GPIO chip takes part: a stand-in does, with the real settings, enums and edge events of `gpiod`.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from myosem_edge.errors import DeviceError, InputError
from myosem_edge.runtime.buttons import CHIP, DEBOUNCE, Buttons, ButtonSpec, button_spec, open_buttons, together
from myosem_edge.runtime.gate import Wearer
from myosem_edge.runtime.loop import FRONT_END, TICK_S
from myosem_edge.runtime.runner import TIME_OVER
from tests.runtime.gpio_stand_in import StandInChip, StandInRequest, gpiod
from tests.runtime.test_loop_runner import RunnerBench, selectors_readable

STOP, OPEN, ARM, LOCK = 17, 27, 22, 5
TEXT = "/dev/gpiochip0:stop=17,open=27,arm=22,lock=5"


@pytest.fixture
def chip(monkeypatch: pytest.MonkeyPatch) -> StandInChip:
    return StandInChip().installed(monkeypatch)


@pytest.fixture
def buttons(chip: StandInChip) -> Buttons:
    return open_buttons(button_spec(TEXT))


@pytest.fixture
def finger(chip: StandInChip, buttons: Buttons) -> StandInRequest:
    assert chip.request is not None
    return chip.request


def taken(buttons: Buttons) -> Wearer:
    return buttons.take(selectors_readable(buttons.fileno()))


class TestSpec:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            (TEXT, ButtonSpec("/dev/gpiochip0", {"stop": 17, "open": 27, "arm": 22, "lock": 5})),
            ("/dev/x:stop=GPIO17", ButtonSpec("/dev/x", {"stop": "GPIO17"})),
            ("/dev/x:stop=1,active=high", ButtonSpec("/dev/x", {"stop": 1}, active_high=True)),
            ("/dev/x:arm=2,stop-nc=1", ButtonSpec("/dev/x", {"arm": 2, "stop": 1}, stop_opens=True)),
        ],
    )
    def test_what_is_said_is_what_is_meant(self, text: str, expected: ButtonSpec) -> None:
        assert button_spec(text) == expected

    @pytest.mark.parametrize(
        "text",
        [
            *(
                "",
                ":",
                "/dev/x",
                "/dev/x:",
                ":stop=1",
                "/dev/x:stop",
                "/dev/x:stop=",
                "/dev/x:stop=1,",
                "/dev/x:halt=1",
            ),
            *("/dev/x:stop=1,stop=2", "/dev/x:stop=1,stop-nc=2", "/dev/x:stop=1,open=1", "/dev/x:stop=1,active=maybe"),
            *("/dev/x:active=high", "/dev/x:open-nc=1,stop=2"),
        ],
    )
    def test_another_form_is_an_error(self, text: str) -> None:
        with pytest.raises(InputError, match=r"--gpio.*stop=LINE") as error:
            button_spec(text)
        assert error.value.exit_code == 3

    @pytest.mark.sr("SR-12")
    def test_an_arm_button_without_a_stop_button_is_refused(self) -> None:
        with pytest.raises(InputError, match="without a stop"):
            button_spec("/dev/x:arm=1,open=2")


class TestRequest:
    def test_lines_are_inputs_pulled_up_debounced_active_low(self, chip: StandInChip, finger: StandInRequest) -> None:
        for line in (STOP, OPEN, ARM):
            assert finger.settings[line] == gpiod.LineSettings(
                direction=gpiod.line.Direction.INPUT,
                edge_detection=gpiod.line.Edge.BOTH,
                bias=gpiod.line.Bias.PULL_UP,
                active_low=True,
                debounce_period=timedelta(milliseconds=5),
            )
        assert chip.closed, "the request lives on without the chip's own descriptor"

    @pytest.mark.sr("SR-12")
    def test_debouncing_leaves_a_stop_time_to_be_on_time(self) -> None:
        assert timedelta(0) < DEBOUNCE <= timedelta(seconds=TICK_S / 2)

    @pytest.mark.parametrize(
        ("more", "low", "stop_low", "bias"),
        [
            ("", True, True, gpiod.line.Bias.PULL_UP),
            (",active=high", False, False, gpiod.line.Bias.PULL_DOWN),
        ],
    )
    @pytest.mark.parametrize("opens", [False, True])
    def test_polarity(self, chip: StandInChip, more: str, low: bool, stop_low: bool, bias: Any, opens: bool) -> None:
        """A contact that opens is pressed while the pull has the line, which is also what a broken wire looks like."""
        open_buttons(button_spec(f"/dev/x:arm=GPIO22,{'stop-nc' if opens else 'stop'}=17{more}"))
        assert chip.request is not None
        settings = chip.request.settings
        assert {each.bias for each in settings.values()} == {bias}
        assert settings["GPIO22"].active_low == low and settings[17].active_low == (stop_low != opens)

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (
                {"error": FileNotFoundError(errno.ENOENT, "No such file")},
                ("/dev/gpiochip0", "No such", "gpiodetect"),
            ),
            (
                {"error": PermissionError(errno.EACCES, "Permission denied")},
                ("denied", "group", "DeviceAllow"),
            ),
            ({"error": OSError(errno.ENODEV, "No such device")}, ("/dev/gpiochip0", "No such device")),
            ({"busy": {OPEN: "led"}}, ("/dev/gpiochip0, line 27 (open)", "in use by led", "another line")),
            ({"busy": {STOP: ""}}, ("line 17 (stop)", "in use by the kernel")),
            ({"refuse": OSError(errno.EBUSY, "Device or resource busy")}, ("/dev/gpiochip0", "busy", "another line")),
        ],
    )
    def test_what_cannot_be_had_is_one_error(
        self, chip: StandInChip, change: dict[str, Any], words: tuple[str]
    ) -> None:
        for name, value in change.items():
            setattr(chip, name, value)
        with pytest.raises(DeviceError) as error:
            open_buttons(button_spec(TEXT))
        assert error.value.exit_code == 6 and all(word in str(error.value) for word in words), str(error.value)

    @pytest.mark.parametrize("line", ["99", "GPIOX"])
    def test_a_line_that_the_chip_has_not(self, chip: StandInChip, line: str) -> None:
        with pytest.raises(DeviceError, match=rf"line {line} \(arm\).*gpioinfo"):
            open_buttons(button_spec(f"/dev/x:stop=17,arm={line}"))

    @pytest.mark.parametrize("path", ["/dev/no-such-chip", os.devnull])
    def test_the_real_package_and_something_that_is_no_chip(self, path: str) -> None:
        with pytest.raises(DeviceError, match=path) as error:
            open_buttons(button_spec(f"{path}:stop=1"))
        assert error.value.exit_code == 6

    def test_without_the_package(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "gpiod", None)
        with pytest.raises(InputError, match=r"pip install 'myosem-edge\[gpio\]'"):
            open_buttons(button_spec(TEXT))


class TestMeaning:
    def test_nothing_pressed_is_nothing_and_never_waits(self, buttons: Buttons) -> None:
        assert taken(buttons) == Wearer() == buttons.take(False)

    @pytest.mark.sr("SR-12")
    @pytest.mark.parametrize(("line", "expected"), [(STOP, Wearer(stop=True)), (OPEN, Wearer(open=True))])
    def test_stop_and_open_act_while_held(
        self, buttons: Buttons, finger: StandInRequest, line: int, expected: Wearer
    ) -> None:
        finger.press(line)
        assert [taken(buttons) for _ in range(5)] == [expected] * 5
        finger.let_go(line)
        assert taken(buttons) == Wearer()
        finger.tap(line)
        assert [taken(buttons), taken(buttons)] == [expected, Wearer()], "shorter than a cycle counts once"

    @pytest.mark.sr("SR-12")
    def test_a_stop_held_since_before_the_start_stops(self, buttons: Buttons, finger: StandInRequest) -> None:
        finger.held.add(STOP)
        assert taken(buttons) == Wearer(stop=True)

    @pytest.mark.sr("SR-01")
    @pytest.mark.parametrize(("line", "wanted"), [(ARM, Wearer(arm=True)), (LOCK, Wearer(lock=True))])
    def test_arm_and_lock_are_edges_and_no_levels(
        self, buttons: Buttons, finger: StandInRequest, line: int, wanted: Wearer
    ) -> None:
        finger.held.add(line)
        assert taken(buttons) == Wearer(), "held, or stuck, since before the start"
        finger.let_go(line)
        assert taken(buttons) == Wearer()
        finger.press(line)
        assert [taken(buttons), taken(buttons)] == [wanted, Wearer()]

    @pytest.mark.sr("SR-01")
    def test_arm_does_not_count_when_other_buttons_move(self, buttons: Buttons, finger: StandInRequest) -> None:
        for other, expected in ((OPEN, Wearer(open=True)), (STOP, Wearer(stop=True))):
            finger.press(ARM)
            finger.tap(other)
            assert taken(buttons) == expected
            finger.let_go(ARM)
            taken(buttons)

    @pytest.mark.sr("SR-12")
    def test_stop_beats_open_and_arm(self, buttons: Buttons, finger: StandInRequest) -> None:
        for line in (OPEN, ARM, STOP):
            finger.press(line)
        assert taken(buttons) == Wearer(stop=True)

    @pytest.mark.sr("SR-12")
    @pytest.mark.parametrize("stop", [Wearer(stop=True), Wearer(stop=True, open=True, arm=True)])
    @pytest.mark.parametrize("other", [Wearer(), Wearer(open=True), Wearer(arm=True)])
    def test_with_keys_whatever_stops_stops(self, stop: Wearer, other: Wearer) -> None:
        assert together(stop, other) == together(other, stop) == Wearer(stop=True)
        assert together(other, Wearer()) == together(Wearer(), other) == other

    def test_closing_gives_the_lines_back_once(self, buttons: Buttons, finger: StandInRequest) -> None:
        buttons.close()
        buttons.close()
        assert finger.released and buttons.fileno() == -1
        with pytest.raises(DeviceError, match="closed"):
            buttons.take(False)


class ButtonBench(RunnerBench):
    """A runner without any keys, as a service has it, and with buttons."""

    def __init__(self, chip: StandInChip) -> None:
        super().__init__()
        self.runner.wearer.close()
        self.runner.buttons = open_buttons(button_spec(TEXT))
        assert chip.request is not None
        self.finger = chip.request

    def wait_for(self, timeout: float) -> list[int]:
        ready = super().wait_for(timeout)
        fd = self.finger.fd
        return [*ready, *([fd] if fd in self.selector.fds and selectors_readable(fd) else [])]

    def driving(self) -> None:
        self.at(3.0, lambda: self.finger.press(ARM))
        self.at(3.2, lambda: self.finger.let_go(ARM))
        self.at(4.0, lambda: setattr(self.decoder, "action", "fist"))


@pytest.fixture
def bench(chip: StandInChip) -> ButtonBench:
    return ButtonBench(chip)


class TestInTheLoop:
    def test_a_program_without_keys_is_armed_by_a_button(self, bench: ButtonBench) -> None:
        bench.driving()
        assert bench.runner.run(seconds=5.0) == TIME_OVER
        assert bench.runner.summary["counts"]["arms"] == 1
        assert any(state.grip == "power" and state.moving for state in bench.states)
        assert bench.finger.released, "the lines are given back"

    @pytest.mark.sr("SR-12")
    @pytest.mark.parametrize("samples", [True, False], ids=["with samples", "without samples"])
    @pytest.mark.parametrize("how", ["press", "tap"])
    def test_stop_is_neutral_within_a_tick_and_disarms(self, bench: ButtonBench, samples: bool, how: str) -> None:
        bench.driving()
        at_s = bench.began_s + 4.8
        if not samples:
            bench.at(4.79, lambda: setattr(bench.armband, "to_send", lambda: b""))
        before: list[bool] = []
        bench.at(4.8, lambda: before.append(bench.hand.state().grip == "power" and bench.hand.state().moving))
        bench.at(4.8, lambda: getattr(bench.finger, how)(STOP))
        bench.runner.run(seconds=5.5)
        after = [state for state in bench.states if state.time_s > at_s]
        assert before == [True] and after[0].time_s - at_s <= TICK_S
        assert all(state.speed_byte == 0 for state in after), "and nothing moves again by itself"
        assert not bench.loop.armed

    @pytest.mark.sr("SR-12")
    @pytest.mark.parametrize("samples", [True, False], ids=["with samples", "without samples"])
    def test_open_opens_within_a_tick_while_it_is_held(self, bench: ButtonBench, samples: bool) -> None:
        bench.driving()
        at_s = bench.began_s + 4.8
        if not samples:
            bench.at(4.79, lambda: setattr(bench.armband, "to_send", lambda: b""))
        bench.at(4.8, lambda: bench.finger.press(OPEN))
        bench.runner.run(seconds=5.2)
        after = [state for state in bench.states if at_s < state.time_s < bench.began_s + 5.15]
        assert after[0].time_s - at_s <= TICK_S
        assert {(state.grip, state.speed_byte > 0) for state in after} == {("open", True)}

    @pytest.mark.sr("SR-12")
    def test_a_stop_that_stays_pressed_keeps_the_gate_from_arming(self, bench: ButtonBench) -> None:
        bench.finger.press(STOP)
        bench.driving()
        bench.runner.run(seconds=5.0)
        assert bench.runner.summary["counts"]["arms"] == 0

    @pytest.mark.sr("SR-15")
    @pytest.mark.parametrize("hung_up", [True, False], ids=["readable", "silent"])
    def test_a_chip_that_vanishes_is_a_fault_in_the_same_cycle_and_the_end(
        self, bench: ButtonBench, hung_up: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bench.driving()
        events: list[dict[str, Any]] = []
        send = bench.runner.telemetry.send
        monkeypatch.setattr(bench.runner.telemetry, "send", lambda told: (events.extend(told), send(told)))
        gone: Callable[[], object] = bench.finger.vanish if hung_up else lambda: setattr(bench.finger, "gone", True)
        bench.at(4.8, gone)
        with pytest.raises(DeviceError, match="stop button") as error:
            bench.runner.run(seconds=60.0)
        assert error.value.exit_code == 6
        assert bench.now_s - bench.began_s <= 4.8 + TICK_S
        verdict = next(event for event in reversed(events) if event["event"] == "verdict")
        assert (verdict["status"], verdict["reason"], verdict["command"]["kind"]) == ("fault", "fault", "neutral")
        assert CHIP in verdict["fault"] and FRONT_END not in verdict["fault"]
        assert not bench.hand.state().moving and bench.story[-1].startswith("good-bye")

    @pytest.mark.sr("SR-15")
    def test_another_failure_is_neutral_too(self, bench: ButtonBench, monkeypatch: pytest.MonkeyPatch) -> None:
        bench.driving()
        bench.at(4.8, lambda: monkeypatch.setattr(bench.finger, "get_values", lambda lines: 1 / 0))
        with pytest.raises(Exception, match="buttons failed 5 times"):
            bench.runner.run(seconds=60.0)
        assert not bench.hand.state().moving and bench.now_s - bench.began_s < 5.0
