"""An emulated Myo armband and the BLED112 dongle it is reached through.

It keeps the state that a real pair has, so a driver that leaves a step out gets what it would get from the real one:
no samples without a notification switch, an error for a command that comes before the last one has completed, a lost
link if the armband was not told to stay awake. Not emulated: the hidden 50 Hz EMG mode, orders to light the LEDs (they
are accepted), firmware update, a counter that could be stuck: there is none.
"""

from __future__ import annotations

import struct
from collections import deque
from dataclasses import dataclass, field

import numpy as np

from myosem_edge.firmware_bridge import bgapi
from myosem_edge.firmware_bridge.emulators.base import Emulator, SampleSource
from myosem_edge.firmware_bridge.emulators.faults import Distortion, Faults, Wire
from myosem_edge.firmware_bridge.frontends.myo import Myo

CHANNELS = 8
ANSWER_S = 0.0075  # the armband answers one connection interval later
ADVERTISE_S = 0.1
CONNECTION = 0
IMU_RATE_HZ = 50

MYO_ADVERTISEMENT = bytes.fromhex("020106 1106 4248124A7F2C4847B9DE04A9010006D5")
OTHER_ADVERTISEMENT = bytes.fromhex("02011A 0AFF4C00100501181C0000")  # somebody's telephone
OTHER_ADDRESS = bytes.fromhex("0A0B0C0D0E4F")

NAME, BATTERY, BATTERY_SWITCH, FIRMWARE, COMMAND = 0x03, 0x11, 0x12, 0x17, 0x19
IMU, IMU_SWITCH, CLASSIFIER, CLASSIFIER_SWITCH, HIDDEN_EMG_SWITCH = 0x1C, 0x1D, 0x23, 0x24, 0x28
EMG = (0x2B, 0x2E, 0x31, 0x34)
SWITCHES = {BATTERY_SWITCH, IMU_SWITCH, CLASSIFIER_SWITCH, HIDDEN_EMG_SWITCH, *(handle + 1 for handle in EMG)}

WRONG_STATE, NOT_CONNECTED, INVALID_HANDLE = 0x0181, 0x0186, 0x0401
TIMED_OUT, LEFT, HUNG_UP = 0x0208, 0x0213, 0x0216

# Lying flat and still: quaternion w (1 = 16384), acceleration z (1 g = 2048), no rotation.
IMU_AT_REST = struct.pack("<10h", 16384, 0, 0, 0, 0, 0, 2048, 0, 0, 0)
SYNCED_RIGHT_ARM = bytes((1, 1, 1, 0, 0, 0))


@dataclass
class _Link:
    """What a connection is worth to the armband; it is all forgotten when the connection ends."""

    since_s: float
    switches: dict[int, bytes] = field(default_factory=dict)
    stays_awake: bool = False
    busy_until_s: float = 0.0  # one attribute procedure at a time
    answers: deque[tuple[float, bytes]] = field(default_factory=deque)  # (due, bytes)
    emg_start_s: float | None = None
    imu_start_s: float | None = None
    emg_count: int = 0  # notifications since the start, dropped ones included
    imu_count: int = 0

    def is_on(self, handle: int) -> bool:
        return any(self.switches.get(handle, b"")[:1])

    def answer(self, now_s: float, message: bytes) -> None:
        self.answers.append((now_s + ANSWER_S, message))


class MyoEmulator(Emulator):
    """A dongle, and one armband that plays `source` at the source's rate, clipped to what a signed byte holds.

    Samples are paced by the time that `tick` is given: at any moment exactly (elapsed x rate) samples have been read
    from the source since the EMG mode was set, in whole notifications of two, however seldom `tick` is called.
    Without the order to stay awake the armband falls asleep and leaves `sleep_after_s` after connecting. `driver` may
    want another address.

    Raises:
        ValueError: the source has not eight channels.
    """

    def __init__(
        self,
        source: SampleSource,
        *,
        address: str = "D1:22:33:44:55:66",
        name: str = "Myo",
        firmware: tuple[int, int, int, int] = (1, 5, 1970, 2),
        battery_percent: int = 87,
        sleep_after_s: float = 60.0,
        faults: Faults | None = None,
        driver: Myo | None = None,
    ) -> None:
        super().__init__()
        if source.channels != CHANNELS:
            raise ValueError(f"a Myo has {CHANNELS} channels, the source has {source.channels}")
        self.source = source
        self.faults = faults or Faults()
        self.address = (driver.address if driver else None) or bgapi.parse_address(address)
        self.awake = True
        self.vibrations = 0  # orders to vibrate, for a test to see
        self.samples_sent = 0  # handed to the link since the emulator was made; dropped ones count
        self._name, self._firmware, self._battery_percent = name.encode(), firmware, battery_percent
        self._sleep_after_s = sleep_after_s
        self._distortion = Distortion(source.rate_hz, full_scale=127.0)
        self.wire = Wire()
        self._incoming = bytearray()
        self._advertise_s: float | None = None
        self._connect_s: float | None = None
        self._link: _Link | None = None

    @property
    def connected(self) -> bool:
        return self._link is not None

    @property
    def streaming(self) -> bool:
        return self._link is not None and self._link.emg_start_s is not None

    def status(self) -> str:
        state = "streaming" if self.streaming else "connected" if self.connected else "advertising"
        return f"{state}, {self.samples_sent} samples sent"

    def wake(self) -> None:
        """Put it on, or move it: it advertises again."""
        self.awake = True

    def lose_link(self) -> None:
        """Carry it out of range: the dongle notices. It can be found again at once."""
        self._leave(TIMED_OUT)

    def set_battery(self, percent: int, now_s: float) -> None:
        self._battery_percent = percent
        if self._link is not None and self._link.is_on(BATTERY_SWITCH):
            self._link.answer(now_s, _value(BATTERY, bgapi.VALUE_NOTIFIED, bytes((percent,))))

    def receive(self, data: bytes, now_s: float) -> None:
        self._incoming += data
        while self._incoming:
            if self._incoming[0] != bgapi.RESPONSE:
                del self._incoming[0]
                continue
            if len(self._incoming) < 4 or len(self._incoming) < 4 + self._incoming[1]:
                return
            length = 4 + self._incoming[1]
            command = bytes(self._incoming[:length])
            del self._incoming[:length]
            self._command((command[2], command[3]), command[4:], now_s)

    def tick(self, now_s: float) -> None:
        if self._advertise_s is not None and now_s >= self._advertise_s:
            self._advertise_s = now_s + ADVERTISE_S
            self._advertise()
        if self._connect_s is not None and now_s >= self._connect_s and self.awake:
            self._connect_s = None
            self._link = _Link(now_s)
            terms = struct.pack("<BHHHB", 0, bgapi.INTERVAL_UNITS, bgapi.SUPERVISION_UNITS, 0, 0xFF)
            self._emit_event(bgapi.CONNECTION_STATUS, bytes((CONNECTION, 0x05)) + self.address + terms)
        if (link := self._link) is not None:
            while link.answers and link.answers[0][0] <= now_s:
                self._outgoing += link.answers.popleft()[1]
            self._stream_emg(link, now_s)
            self._stream_imu(link, now_s)
            if not link.stays_awake and now_s >= link.since_s + self._sleep_after_s:
                self.awake = False
                self._leave(LEFT)

    def to_send(self) -> bytes:
        data = super().to_send()
        return b"" if self.faults.silent else data

    def _command(self, key: bgapi.Key, payload: bytes, now_s: float) -> None:
        if key == bgapi.END_PROCEDURE:
            was_busy = self._advertise_s is not None or self._connect_s is not None
            self._advertise_s = self._connect_s = None
            self._respond(key, struct.pack("<H", 0 if was_busy else WRONG_STATE))
        elif key == bgapi.DISCONNECT and len(payload) == 1:
            ours = self.connected and payload[0] == CONNECTION
            self._respond(key, struct.pack("<BH", payload[0], 0 if ours else NOT_CONNECTED))
            if ours:
                self._leave(HUNG_UP)
        elif key == bgapi.DISCOVER:
            self._respond(key, struct.pack("<H", 0))
            self._advertise_s = now_s
        elif key == bgapi.CONNECT_DIRECT and len(payload) == 15:
            free = not self.connected and self._connect_s is None and self._advertise_s is None
            self._respond(key, struct.pack("<HB", 0 if free else WRONG_STATE, CONNECTION))
            if free:
                self._connect_s = now_s + ANSWER_S if payload[:6] == self.address else float("inf")
        elif key in (bgapi.READ_BY_HANDLE, bgapi.ATTRIBUTE_WRITE) and len(payload) >= 3:
            self._attribute(key, payload, now_s)

    def _attribute(self, key: bgapi.Key, payload: bytes, now_s: float) -> None:
        connection, handle = struct.unpack_from("<BH", payload)
        link = self._link if connection == CONNECTION else None
        if link is None or link.busy_until_s > now_s:
            self._respond(key, struct.pack("<BH", connection, NOT_CONNECTED if link is None else WRONG_STATE))
            return
        self._respond(key, struct.pack("<BH", connection, 0))
        link.busy_until_s = now_s + ANSWER_S
        if key == bgapi.READ_BY_HANDLE and (value := self._attribute_value(handle)) is not None:
            link.answer(now_s, _value(handle, bgapi.VALUE_READ, value))
            return
        known = key == bgapi.ATTRIBUTE_WRITE and (handle in SWITCHES or handle == COMMAND)
        done = struct.pack("<BHH", CONNECTION, 0 if known else INVALID_HANDLE, handle)
        link.answer(now_s, bgapi.encode(bgapi.EVENT, bgapi.PROCEDURE_COMPLETED, done))
        if known and handle == COMMAND:
            self._order(link, payload[4:], now_s)
        elif known:
            link.switches[handle] = payload[4:]

    def _attribute_value(self, handle: int) -> bytes | None:
        return {
            NAME: self._name,
            BATTERY: bytes((self._battery_percent,)),
            FIRMWARE: struct.pack("<4H", *self._firmware),
        }.get(handle)

    def _order(self, link: _Link, value: bytes, now_s: float) -> None:
        if value[:2] == b"\x01\x03" and len(value) == 5:
            emg, imu, classifier = value[2:]
            link.emg_start_s = now_s + ANSWER_S if emg in (2, 3) else None
            link.imu_start_s = now_s + ANSWER_S if imu in (1, 3) else None
            link.emg_count = link.imu_count = 0
            if classifier and link.is_on(CLASSIFIER_SWITCH):
                link.answer(now_s, _value(CLASSIFIER, bgapi.VALUE_INDICATED, SYNCED_RIGHT_ARM))
        elif value[:2] == b"\x09\x01" and len(value) >= 3:
            link.stays_awake = value[2] == 1
        elif value[:2] == b"\x03\x01":
            self.vibrations += 1
        elif value == b"\x04\x00":
            self.awake = False
            self._leave(LEFT)

    def _leave(self, reason: int) -> None:
        if self.connected:
            self._link = None
            self.wire.clear()
            self._emit_event(bgapi.DISCONNECTED, struct.pack("<BH", CONNECTION, reason))

    def _advertise(self) -> None:
        seen = [(-80, OTHER_ADDRESS, OTHER_ADVERTISEMENT)]
        if self.awake and not self.connected:
            seen.append((-45, self.address, MYO_ADVERTISEMENT))
        for rssi_dbm, address, data in seen:
            head = struct.pack("<bB6sBBB", rssi_dbm, 0, address, 0, 0xFF, len(data))
            self._emit_event(bgapi.SCAN_RESPONSE, head + data)

    def _stream_emg(self, link: _Link, now_s: float) -> None:
        if link.emg_start_s is not None:
            due = int((now_s - link.emg_start_s) * self.source.rate_hz + 1e-6) // 2 - link.emg_count
            if due > 0:
                samples = self._distortion.apply(self.source.read(2 * due), self.faults)
                self.samples_sent += len(samples)
                for pair in np.clip(np.rint(samples), -128, 127).astype(np.int8).reshape(due, 2 * CHANNELS):
                    handle = EMG[link.emg_count % len(EMG)]
                    link.emg_count += 1
                    if link.is_on(handle + 1):
                        self.wire.put(_value(handle, bgapi.VALUE_NOTIFIED, pair.tobytes()), now_s, self.faults)
        self._outgoing += self.wire.take(now_s, self.faults)

    def _stream_imu(self, link: _Link, now_s: float) -> None:
        if link.imu_start_s is None or not link.is_on(IMU_SWITCH):
            return
        due = int((now_s - link.imu_start_s) * IMU_RATE_HZ + 1e-6)
        while link.imu_count < due:
            self._outgoing += _value(IMU, bgapi.VALUE_NOTIFIED, IMU_AT_REST)
            link.imu_count += 1

    def _respond(self, key: bgapi.Key, payload: bytes) -> None:
        self._outgoing += bgapi.encode(bgapi.RESPONSE, key, payload)

    def _emit_event(self, key: bgapi.Key, payload: bytes) -> None:
        self._outgoing += bgapi.encode(bgapi.EVENT, key, payload)


def _value(handle: int, kind: int, data: bytes) -> bytes:
    head = struct.pack("<BHBB", CONNECTION, handle, kind, len(data))
    return bgapi.encode(bgapi.EVENT, bgapi.ATTRIBUTE_VALUE, head + data)
