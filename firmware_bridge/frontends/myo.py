"""The Thalmic Myo armband, eight channels at 200 Hz, through its BLED112 dongle.

Sources of the byte-level facts: the vendor's published Bluetooth header (attributes, commands) and the community's
drivers (the fixed attribute handles, the order of the start).
"""

from __future__ import annotations

import re
import uuid
from collections import deque
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from myosem_edge.errors import InputError
from myosem_edge.firmware_bridge import bgapi
from myosem_edge.firmware_bridge.frontends.base import Chunk, Counters, FrontEnd, FrontEndInfo, Phase
from myosem_edge.firmware_bridge.frontends.clockwatch import ClockWatch
from myosem_edge.firmware_bridge.frontends.recognition import Identity, Recognised

CHANNELS = 8
RATE_HZ = 200.0
SAMPLES_PER_NOTIFICATION = 2
EMG_BYTES = CHANNELS * SAMPLES_PER_NOTIFICATION

MYO_SERVICE = uuid.UUID("d5060001-a904-deb9-4748-2c7f4a124842")
NAME, BATTERY, BATTERY_SWITCH, FIRMWARE, COMMAND = 0x03, 0x11, 0x12, 0x17, 0x19
EMG_HANDLES = (0x2B, 0x2E, 0x31, 0x34)  # the four characteristics take turns in this order
EMG_SWITCHES = (0x2C, 0x2F, 0x32, 0x35)
NOTIFY_ON, NEVER_SLEEP, VIBRATE_SHORT = b"\x01\x00", b"\x09\x01\x01", b"\x03\x01\x01"
MODES = {"filtered": b"\x01\x03\x02\x00\x00", "raw": b"\x01\x03\x03\x00\x00"}  # EMG mode; no IMU, no classifier

ATTEMPTS = 3
STEP_S = 1.0  # a dongle answers within milliseconds, an armband within a few 7.5 ms connection intervals
SCAN_S = 10.0  # an awake Myo advertises several times a second
CONNECT_S = 3.0
RETRY_PAUSE_S = 0.2
STALL_S = 2.0  # longer than the link's own supervision time-out (0.64 s), which reports a lost armband first
CLOCK_TOLERANCE_SAMPLES = 6.0  # the smallest loss that the cycle hides is four notifications = 8 samples
DONGLE = re.compile(rb"\x00\x02\x06\x04(?:\x00\x00|\x81\x01)")  # done, or there was no scan

SILENT = "the port is silent: plug the BLED112 dongle in again, and check that this is its port"
FOREIGN = "bytes arrive but they are not a BLED112's: choose the port of the dongle"


@dataclass(frozen=True)
class _Step:
    """One command, what proves that it was carried out, and what to tell the user if it never is."""

    command: bytes
    failure: str
    done_by: bgapi.Key | None = None  # the event that ends it; None: the response is enough
    handle: int | None = None  # the attribute that event has to name
    limit_s: float = STEP_S
    attempts: int = ATTEMPTS
    may_fail: bool = False  # tidying up: there may be nothing to end

    @property
    def key(self) -> bgapi.Key:
        return (self.command[2], self.command[3])


def _recognised(heard: bytes, seconds: float) -> Recognised | None:
    """By the dongle, which is asked to end a scan; whether an armband is awake shows when it is looked for."""
    answer = DONGLE.search(heard)
    return Recognised(facts={"dongle": "BLED112"}) if answer else None


class Myo(FrontEnd):
    """One armband behind one dongle.

    `address` ("D1:22:33:44:55:66") picks one of several; without it the first Myo heard is taken, and after a lost
    link always the same one again. `mode` is what the armband sends: "raw", or "filtered" by itself.
    A disconnected or stalled armband is connected again without being asked; the samples missing meanwhile are
    estimated from the clock, so that sample counts stay close to time.

    Raises:
        InputError: `address` is not six hexadecimal bytes, or `mode` is unknown.
    """

    usb_ids = ("2458:0001",)  # of the BLED112
    identity = Identity(_recognised, bgapi.end_procedure(), STEP_S)
    info = FrontEndInfo(
        id="myo",
        name="Thalmic Myo armband over a BLED112 dongle",
        channels=CHANNELS,
        rate_hz=RATE_HZ,
        unit="counts",
        full_scale=128.0,
        layout="ring",
        baud=115200,  # USB CDC: any will do
        prefiltered="nothing that is documented",
        loss_visible_by="the order of the four EMG characteristics; multiples of eight samples by time only",
    )

    def __init__(self, *, address: str | None = None, mode: Literal["raw", "filtered"] = "raw") -> None:
        super().__init__()
        if mode not in MODES:
            raise InputError("no such Myo mode", found=repr(mode), expected=" or ".join(sorted(MODES)))
        if mode == "filtered":
            self.info = replace(self.info, prefiltered="filtered by the armband, with an undocumented filter")
        self._mode = MODES[mode]
        self.address = bgapi.parse_address(address) if address is not None else None
        self._reset()

    def start(self, now_s: float) -> None:
        if self.phase in (Phase.CONNECTING, Phase.STREAMING):
            return
        self._outgoing.clear()
        self.counters = Counters()
        self.failure = None
        self.facts.clear()
        self._reset()
        self._connect(now_s)

    def stop(self, now_s: float) -> None:
        """End a scan or the connection. Disconnecting also switches the notifications off."""
        if self.phase in (Phase.CONNECTING, Phase.STREAMING):
            self._hang_up()
        self._steps.clear()
        self.phase = Phase.IDLE

    def receive(self, data: bytes, now_s: float) -> list[Chunk]:
        if self.phase not in (Phase.CONNECTING, Phase.STREAMING):
            return []
        self._heard_bytes += len(data)
        chunks: list[Chunk] = []
        run: list[bytes] = []  # payloads that follow one another without a gap
        lost = 0
        for message in self._reader.feed(data):
            self._heard_messages += 1
            emg = self._take_emg(message) if self.phase is Phase.STREAMING else None
            if emg is None:
                self._take(message, now_s)
                continue
            payload, missing = emg
            if missing and run:
                chunks.append(self._chunk(run, lost, now_s))
                run = []
            if not run:
                lost = missing + self._missing_by_reconnect(now_s)
            run.append(payload)
            self._last_emg_s = now_s
        if run:
            chunks.append(self._chunk(run, lost, now_s))
            self._clock.check(self._next_sample, now_s, self.counters)
        self.counters.rejected_bytes = self._reader.rejected_bytes
        self.counters.resyncs = self._reader.resyncs
        return chunks

    def tick(self, now_s: float) -> None:
        if self.phase is Phase.STREAMING and now_s - self._last_emg_s > STALL_S:
            self._reconnect("stalls", now_s)
        elif self.phase is Phase.CONNECTING and now_s >= self._deadline_s:
            if self._may_send_at_s is not None:
                self._send(now_s)
            else:
                self._step_failed(now_s, pause_s=0.0)

    def _reset(self) -> None:
        self._reader = bgapi.Reader()
        self._wanted = self.address
        self._connection: int | None = None
        self._steps: deque[_Step] = deque()
        self._attempt = 0
        self._acknowledged = False
        self._deadline_s = 0.0
        self._may_send_at_s: float | None = None
        self._links = 0  # connections made since the last time that samples flowed
        self._heard_bytes = self._heard_messages = 0
        self._others: set[str] = set()
        self._next_sample = 0
        self._expected: int | None = None  # index of the EMG characteristic whose turn it is
        self._last_emg_s = 0.0
        self._gap_since_s: float | None = None
        self._clock = ClockWatch(RATE_HZ, CLOCK_TOLERANCE_SAMPLES)

    def _connect(self, now_s: float) -> None:
        """Queue everything up to the discovery of the armband. Old connections and scans may still be alive."""
        self.phase = Phase.CONNECTING
        self._connection = None
        self._links += 1
        busy = "the dongle does not answer properly: unplug it and plug it in again"
        self._run_steps(
            [
                _Step(bgapi.end_procedure(), busy, may_fail=True),
                *(_Step(bgapi.disconnect(n), busy, done_by=bgapi.DISCONNECTED, may_fail=True) for n in range(3)),
                _Step(bgapi.discover(), "", done_by=bgapi.SCAN_RESPONSE, limit_s=SCAN_S, attempts=1),
            ],
            now_s,
        )

    def _link_steps(self, address: bytes) -> list[_Step]:
        lost = "a Myo was heard but does not connect: bring it nearer, and disconnect it from other computers"
        return [
            _Step(bgapi.end_procedure(), lost, may_fail=True),
            _Step(bgapi.connect_direct(address), lost, done_by=bgapi.CONNECTION_STATUS, limit_s=CONNECT_S),
        ]

    def _setup_steps(self, connection: int) -> list[_Step]:
        """The mode comes last, so that no command is ever under way while samples flow."""

        def read(what: str, handle: int) -> _Step:
            failure = f"the Myo does not tell its {what}: charge it and bring it nearer"
            return _Step(bgapi.read_handle(connection, handle), failure, done_by=bgapi.ATTRIBUTE_VALUE, handle=handle)

        def write(what: str, handle: int, value: bytes) -> _Step:
            command = bgapi.write_handle(connection, handle, value)
            failure = f"the Myo does not accept {what}: charge it and bring it nearer"
            return _Step(command, failure, done_by=bgapi.PROCEDURE_COMPLETED, handle=handle)

        return [
            read("firmware version", FIRMWARE),
            read("name", NAME),
            read("battery level", BATTERY),
            write("battery reports", BATTERY_SWITCH, NOTIFY_ON),
            *(write("EMG notifications", handle, NOTIFY_ON) for handle in EMG_SWITCHES),
            write("the order to stay awake", COMMAND, NEVER_SLEEP),
            write("the order to vibrate", COMMAND, VIBRATE_SHORT),
            write("the EMG mode", COMMAND, self._mode),
        ]

    def _run_steps(self, steps: list[_Step], now_s: float) -> None:
        self._steps = deque(steps)
        self._attempt = 0
        self._send(now_s)

    def _send(self, now_s: float) -> None:
        step = self._steps[0]
        self._attempt += 1
        self._acknowledged = False
        self._may_send_at_s = None
        self._deadline_s = now_s + step.limit_s
        if self._attempt > 1:
            self.counters.note("retries")
            self._reader.forget()
            if step.key == bgapi.CONNECT_DIRECT:
                self._outgoing += bgapi.end_procedure()  # the dongle is still trying, and would refuse a second time
        self._outgoing += step.command

    def _step_done(self, now_s: float) -> None:
        self._steps.popleft()
        self._attempt = 0
        if self._steps:
            self._send(now_s)
            return
        self.phase = Phase.STREAMING
        self._links = 0
        self._expected = None
        self._last_emg_s = now_s

    def _step_failed(self, now_s: float, pause_s: float) -> None:
        step = self._steps[0]
        if step.may_fail and self._acknowledged:
            self._step_done(now_s)
        elif self._attempt < step.attempts:
            self._may_send_at_s = self._deadline_s = now_s + pause_s
            if not pause_s:
                self._send(now_s)
        elif not self._heard_messages:
            self._fail(FOREIGN if self._heard_bytes else SILENT)
        elif step.key == bgapi.DISCOVER:
            self._fail(self._nothing_heard())
        else:
            self._fail(step.failure)

    def _fail(self, failure: str) -> None:
        self._hang_up()
        self._steps.clear()
        self.phase = Phase.FAILED
        self.failure = failure

    def _hang_up(self) -> None:
        if self.phase is Phase.CONNECTING:
            self._outgoing += bgapi.end_procedure()
        if self._connection is not None:
            self._outgoing += bgapi.disconnect(self._connection)
            self._connection = None

    def _reconnect(self, why: str, now_s: float) -> None:
        if self.phase is Phase.STREAMING:
            self._gap_since_s = self._last_emg_s
            self.counters.note("reconnects")
        self.counters.note(why)
        if self._links >= ATTEMPTS:
            self._fail("the Myo disconnects again and again: charge it and bring it nearer")
        else:
            self._heard_bytes = self._heard_messages = 0
            self._connect(now_s)

    def _nothing_heard(self) -> str:
        if self._wanted is None:
            return f"no Myo heard in {SCAN_S:.0f} s: is it awake and near?"
        others = f" (others heard: {', '.join(sorted(self._others))})" if self._others else ""
        return (
            f"the Myo {bgapi.show_address(self._wanted)} was not heard in {SCAN_S:.0f} s{others}: is it awake and near?"
        )

    def _take(self, message: bgapi.Message, now_s: float) -> None:
        """Anything but EMG while streaming."""
        payload = message.payload
        if message.event and message.key == bgapi.ATTRIBUTE_VALUE:
            self._learn(int.from_bytes(payload[1:3], "little"), payload[5:])
        if message.event and message.key == bgapi.DISCONNECTED and payload[0] == self._connection:
            self._reconnect("disconnections", now_s)
        elif message.event and message.key == bgapi.SYSTEM_BOOT:
            self._reconnect("dongle restarts", now_s)
        elif self._steps:
            if message.event:
                self._take_event(self._steps[0], message, now_s)
            elif message.key == self._steps[0].key:
                self._take_response(self._steps[0], message, now_s)

    def _take_response(self, step: _Step, message: bgapi.Message, now_s: float) -> None:
        failed = message.result() != 0
        if failed and not step.may_fail:
            return self._step_failed(now_s, RETRY_PAUSE_S)
        self._acknowledged = True
        if step.key == bgapi.CONNECT_DIRECT:
            self._connection = message.payload[2]
        if failed or step.done_by is None:
            self._step_done(now_s)

    def _take_event(self, step: _Step, message: bgapi.Message, now_s: float) -> None:
        payload, ours = message.payload, message.payload[0] == self._connection
        if message.key == bgapi.SCAN_RESPONSE and step.key == bgapi.DISCOVER:
            self._take_advertisement(payload, now_s)
        elif message.key == bgapi.CONNECTION_STATUS and step.key == bgapi.CONNECT_DIRECT and ours and payload[1] & 1:
            self._run_steps(self._setup_steps(payload[0]), now_s)
        elif message.key == bgapi.DISCONNECTED and step.key == bgapi.DISCONNECT and payload[0] == step.command[4]:
            self._step_done(now_s)
        elif message.key == bgapi.PROCEDURE_COMPLETED and ours:
            result, handle = int.from_bytes(payload[1:3], "little"), int.from_bytes(payload[3:5], "little")
            if handle == step.handle and result:
                self._step_failed(now_s, RETRY_PAUSE_S)
            elif handle == step.handle and step.done_by == bgapi.PROCEDURE_COMPLETED:
                self._step_done(now_s)
        elif message.key == step.done_by and payload[:3] == step.command[4:7]:
            self._step_done(now_s)  # the value of the attribute that was to be read

    def _take_advertisement(self, payload: bytes, now_s: float) -> None:
        address = payload[2:8]
        if MYO_SERVICE not in bgapi.advertised_services(payload[11:]):
            return
        if self._wanted is not None and address != self._wanted:
            self._others.add(bgapi.show_address(address))
            return
        self._wanted = address
        self.facts["address"] = bgapi.show_address(address)
        self._run_steps(self._link_steps(address), now_s)

    def _learn(self, handle: int, value: bytes) -> None:
        if handle == BATTERY and len(value) == 1:
            self.facts["battery"] = f"{value[0]} %"
        elif handle == FIRMWARE and len(value) == 8:
            self.facts["firmware"] = ".".join(str(int.from_bytes(value[i : i + 2], "little")) for i in (0, 2, 4, 6))
        elif handle == NAME:
            self.facts["name"] = value.decode("utf-8", "replace")

    def _take_emg(self, message: bgapi.Message) -> tuple[bytes, int] | None:
        """The 16 bytes of an EMG notification, and how many samples the cycle says are missing before it."""
        payload = message.payload
        handle = int.from_bytes(payload[1:3], "little")
        if not message.event or message.key != bgapi.ATTRIBUTE_VALUE or len(payload) != 5 + EMG_BYTES:
            return None
        if payload[0] != self._connection or payload[3] != bgapi.VALUE_NOTIFIED or handle not in EMG_HANDLES:
            return None
        turn = EMG_HANDLES.index(handle)
        skipped = 0 if self._expected is None else (turn - self._expected) % len(EMG_HANDLES)
        self._expected = (turn + 1) % len(EMG_HANDLES)
        return payload[5:], skipped * SAMPLES_PER_NOTIFICATION

    def _missing_by_reconnect(self, now_s: float) -> int:
        """Samples that a lost link has cost, by the clock, when the first notification after it arrives."""
        if self._gap_since_s is None:
            return 0
        notifications = round((now_s - self._gap_since_s) * RATE_HZ / SAMPLES_PER_NOTIFICATION) - 1
        self._gap_since_s = None
        return max(1, notifications) * SAMPLES_PER_NOTIFICATION

    def _chunk(self, run: list[bytes], lost: int, now_s: float) -> Chunk:
        samples = np.frombuffer(b"".join(run), np.int8).reshape(-1, CHANNELS).astype(np.float32)  # (n, 8)
        first = self._next_sample + lost
        self._next_sample = first + len(samples)
        self.counters.frames += len(run)
        self.counters.samples += len(samples)
        self.counters.lost_samples += lost
        return Chunk(samples, first, now_s, lost)
