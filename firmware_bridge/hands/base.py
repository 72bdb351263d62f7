"""What every prosthetic hand is: a table of facts and a sans-I/O encoder/decoder. It opens no port, reads no clock."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

ROTATIONS = PRONATE, SUPINATE = "pronate", "supinate"  # grips of a hand with `rotates_wrist`: palm down, palm up


class Neutral(Enum):
    """What "no command" means for a hand. FREEZE is the default: a held cup is neither crushed nor dropped."""

    FREEZE = "freeze"
    RELAX = "relax"
    OPEN = "open"


@dataclass(frozen=True)
class HandLimits:
    """Hard limits of a hand model; a wearer's limits may only be tighter. Fractions are of the hand's own maximum."""

    max_speed: float = 1.0
    max_force: float = 1.0
    max_commands_per_s: float = 50.0  # messages that may move it, over any 250 ms of wall time
    max_speed_step: float = 0.25  # largest rise of commanded speed from one command to the next
    max_close_s: float = 10.0  # longest uninterrupted close command


@dataclass(frozen=True)
class HandInfo:
    """Facts of a hand model: `grips` are the canonical grip names it can form."""

    id: str
    name: str
    baud: int
    grips: tuple[str, ...]
    limits: HandLimits
    keep_alive_s: float | None  # longest silence it tolerates; None = it holds the last target for ever
    has_force: bool
    neutrals: tuple[Neutral, ...]
    notes: str
    rotates_wrist: bool = False  # then its grips include ROTATIONS


@dataclass(frozen=True)
class Feedback:
    """What a hand reported: positions in degrees by joint, whether any motor is moving or limiting itself, and by
    joint the voltage of the finger's touch sensor that is pressed hardest, where the hand has any.
    """

    arrival_s: float
    position_deg: Mapping[str, float] = field(default_factory=dict)
    current_a: Mapping[str, float] = field(default_factory=dict)
    touch_v: Mapping[str, float] = field(default_factory=dict)
    moving: bool = False
    limited: tuple[str, ...] = ()  # joints whose own protection is active


class Hand(ABC):
    """One prosthetic hand. Subclasses live one per file in `firmware_bridge/hands`."""

    info: HandInfo

    @abstractmethod
    def start(self) -> bytes:
        """Bytes to send once after opening: ask for feedback, never move."""

    @abstractmethod
    def grip(self, name: str, speed: float, force: float) -> bytes:
        """Form a grip; speed and force in 0..1.

        Raises:
            ValueError: unknown grip, or a value outside 0..1 (a driver refuses, it never clips).
        """

    @abstractmethod
    def open_hand(self, speed: float) -> bytes: ...

    @abstractmethod
    def stop(self) -> bytes:
        """Halt every motor where it is, keeping hold (freeze)."""

    @abstractmethod
    def relax(self) -> bytes: ...

    @abstractmethod
    def poll(self) -> bytes:
        """Ask for feedback without commanding anything."""

    @abstractmethod
    def release(self) -> bytes:
        """Hand control back to the hand's own inputs when the session ends; empty if it has no such thing."""

    @abstractmethod
    def receive(self, data: bytes, now_s: float) -> list[Feedback]:
        """Take any bytes in any cut. Never raises on garbage: it re-synchronises and counts."""

    @abstractmethod
    def may_send(self, frame: bytes) -> bool:
        """Whether these bytes are exactly one frame that this driver could have produced (the whitelist, SR-11)."""

    def formed_deg(self, name: str) -> Mapping[str, float]:
        """What the hand will report once a grip is formed, in degrees by joint; without the joints that stay where they
        are, and empty where the hand itself decides how it forms a grip.
        """
        return {}

    def neutral(self, choice: Neutral) -> bytes:
        """The bytes of the wearer's chosen neutral, asked for anew each time that they are sent."""
        if choice is Neutral.FREEZE:
            return self.stop()
        return self.relax() if choice is Neutral.RELAX else self.open_hand(speed=0.3)
