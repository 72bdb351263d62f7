"""The vendor's own Python package against our emulator, and its frames against ours."""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import serial

from myosem_edge.firmware_bridge.emulators.ability import POSTURES_DEG, AbilityEmulator
from myosem_edge.firmware_bridge.emulators.pty import OnPty
from myosem_edge.firmware_bridge.hands.ability import GRIP_CODES, JOINTS, AbilityHand
from myosem_edge.firmware_bridge.hands.base import Feedback

pytestmark = pytest.mark.peer

PATIENCE_S = 5.0  # far beyond what any step needs; counts decide, not milliseconds


@pytest.fixture(scope="module")
def vendor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """The vendor's modules, imported where the files they write on import do no harm."""
    folder = tmp_path_factory.mktemp("vendor")
    (folder / "config.py").write_text("write_log = False\nvelocity_warning = False\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "path", list(sys.path))
        try:
            client = importlib.import_module("ah_wrapper.ah_serial_client")
        except ModuleNotFoundError as error:
            pytest.skip(f"{error.name} is not installed")
        yield SimpleNamespace(
            client=client.AHSerialClient,
            api=importlib.import_module("ah_wrapper.ah_api"),
            parser=importlib.import_module("ah_wrapper.ah_parser"),
            stuffing=importlib.import_module("ah_wrapper.ppp_stuffing"),
        )
        sys.modules.pop("config", None)


def until(condition: Callable[[], bool]) -> bool:
    deadline_s = time.monotonic() + PATIENCE_S
    while not condition() and time.monotonic() < deadline_s:
        time.sleep(0.01)
    return condition()


def connected(vendor: SimpleNamespace, port: str, reply_mode: int) -> Any:
    """The client gives its peer 50 ms to answer once, and exits where a busy machine took longer: ask again."""
    for _ in range(20):
        try:
            return vendor.client(port=port, baud_rate=460800, reply_mode=reply_mode, rate_hz=200)
        except SystemExit:
            continue
    pytest.fail("the vendor's client never saw an answer")


@pytest.mark.parametrize("reply_mode", [0, 1, 2])
def test_the_vendors_client_drives_the_emulator(vendor: SimpleNamespace, reply_mode: int) -> None:
    emulator, target_deg = AbilityEmulator(), [10.0, 20.0, 30.0, 40.0, 50.0, -60.0]
    with OnPty(emulator) as device:
        client = connected(vendor, device.port, reply_mode)
        try:
            client.set_position(target_deg)
            assert until(lambda: client.n_reads > 100 and not emulator.state().moving)
            assert until(lambda: client.hand.get_position() == pytest.approx(target_deg, abs=0.02))
            assert client.hand.get_hot_cold() == 0
            state = emulator.state()
            assert list(state.position_deg.values()) == pytest.approx(target_deg, abs=0.02)
            assert (state.control, state.api_mode, state.frames_bad) == ("position", True, 0)
            assert state.frames_good > 100
            touch = client.hand.get_fsr()
            assert (touch is None) == (reply_mode == 2)
            assert touch is None or len(touch) == 30
        finally:
            client.close()
        # Every frame the client wrote arrives whole, and none is answered twice. Its two counters start at 1.
        assert until(lambda: emulator.state().frames_good >= client._conn.n_writes - 1)
        assert client.n_reads - 1 <= emulator.state().frames_good
        assert emulator.state().frames_bad == 0


def test_the_vendors_client_sees_an_object_as_a_limited_motor(vendor: SimpleNamespace) -> None:
    emulator = AbilityEmulator(object_width_mm=50)
    with OnPty(emulator) as device:
        client = connected(vendor, device.port, reply_mode=0)
        try:
            client.set_position([80.0, 0.0, 0.0, 0.0, 0.0, 0.0])
            assert until(lambda: client.hand.get_hot_cold() == 1)
            assert client.hand.get_position()[0] == pytest.approx(45, abs=0.02)
            assert client.hand.get_current()[0] == pytest.approx(0.6, abs=0.01)
        finally:
            client.close()


def test_the_vendors_grip_is_formed_and_its_speed_zero_freezes(vendor: SimpleNamespace) -> None:
    emulator = AbilityEmulator()
    with OnPty(emulator) as device:
        client = connected(vendor, device.port, reply_mode=2)
        try:
            client.set_grip(GRIP_CODES["power"], speed=20)
            assert until(lambda: emulator.state().position_deg["index"] > 35)
            client.set_grip(GRIP_CODES["open"], speed=0)
            assert until(lambda: not emulator.state().moving)
            assert 35 < emulator.state().position_deg["index"] < 90
            client.set_grip(GRIP_CODES["power"], speed=255)
            power_deg = pytest.approx(list(POSTURES_DEG[1]))
            assert until(lambda: list(emulator.state().position_deg.values()) == power_deg)
        finally:
            client.close()


def test_our_driver_and_the_emulator_agree_over_a_real_port() -> None:
    emulator, hand = AbilityEmulator(), AbilityHand()
    feedback: list[Feedback] = []
    with OnPty(emulator) as device, serial.Serial(device.port, hand.info.baud, timeout=0.05) as port:
        port.write(hand.start())
        port.write(hand.grip("tripod", 1.0, 0.0))

        def arrived() -> bool:
            port.write(hand.poll())
            feedback.extend(hand.receive(port.read(41), 0.0))
            return len(feedback) > 30 and not feedback[-1].moving

        assert until(arrived)
    assert hand.frames_bad == 0
    assert list(feedback[-1].position_deg.values()) == pytest.approx(POSTURES_DEG[0x0F], abs=0.01)


class TestFrames:
    """For the same command, the vendor's package and our driver write the same bytes."""

    hand = AbilityHand()

    def test_grips(self, vendor: SimpleNamespace) -> None:
        for name, code in GRIP_CODES.items():
            for speed in range(1, 256):
                frame = self.hand.grip(name, speed / 255, 0.0)
                assert frame == bytes(vendor.api.create_grip_msg(code, speed)), (name, speed)
        assert self.hand.stop() == bytes(vendor.api.create_grip_msg(0, 0))

    def test_poll_release_and_registers(self, vendor: SimpleNamespace) -> None:
        assert self.hand.poll() == bytes(vendor.api.create_misc_msg(0xA2))
        assert self.hand.release() == bytes(vendor.api.create_misc_msg(0x7C))
        for number, value in ((1, 0), (61, -1), (0x7D7E, 0x7E7D)):
            assert self.hand.register_read(number) == bytes(vendor.api.create_read_reg_msg(number))
            assert self.hand.register_write(number, value) == bytes(vendor.api.create_write_reg_msg(number, value))

    @pytest.mark.parametrize("variant", [1, 2, 3])
    def test_motors(self, vendor: SimpleNamespace, variant: int) -> None:
        api, mode = vendor.api, variant - 1
        for percent in range(101):
            angles = [float(percent)] * 5 + [-percent * 1.0]
            assert self.hand.positions(angles, variant) == bytes(api.create_pos_msg(mode, angles)), percent
            for sign in (1, -1):
                rates = [sign * percent * 29.7] * 6
                assert self.hand.velocities(rates, variant) == bytes(api.create_vel_msg(mode, rates)), rates
                amps = [sign * percent / 100] * 6
                assert self.hand.currents(amps, variant) == bytes(api.create_torque_msg(mode, amps)), amps
                duties = [sign * percent] * 6
                assert self.hand.duties(duties, variant) == bytes(api.create_duty_msg(mode, duties)), duties

    def test_replies_read_the_same_except_for_rotor_velocity(self, vendor: SimpleNamespace) -> None:
        emulator = AbilityEmulator(object_width_mm=60)
        emulator.tick(0.0)
        emulator.receive(self.hand.positions([90, 20, 20, 20, 20, -50], variant=1), 0.0)
        emulator.tick(1.0)
        emulator.to_send()
        hand = AbilityHand()
        for frame in (self.hand.positions([90, 20, 20, 20, 20, -50], variant) for variant in (1, 2, 3)):
            emulator.receive(frame, 1.0)
            data = emulator.to_send()
            (feedback,) = hand.receive(data, 1.0)
            unstuffer = vendor.stuffing.PPPUnstuff()
            (body,) = (body for byte in data if (body := unstuffer.unstuff_byte(byte)))
            packet = vendor.parser.parse_packet(body)
            assert packet.pos == pytest.approx(list(feedback.position_deg.values()))
            assert packet.hot_cold == sum(1 << JOINTS.index(joint) for joint in feedback.limited) == 1
            if feedback.current_a:
                assert packet.cur == pytest.approx(list(feedback.current_a.values()))
