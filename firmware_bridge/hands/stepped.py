"""Hands that go to the last position they were sent and hold it for ever, whoever sent it and whatever became of him.

Nothing on the wire halts such a hand, so it is never sent far: every command is one short step from the last, and the
motion lasts as long as the commands do. When the loop dies, or the cable is cut, the hand has arrived where it is.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

from myosem_edge.firmware_bridge.hands.base import PRONATE, SUPINATE, Feedback, Hand, Neutral

COMMAND_S = 0.05  # a command that is still meant is sent again this often: half of a keep-alive
KEEP_ALIVE_S = 2 * COMMAND_S
FULL_STROKE_S = 1.0  # from open to closed at full speed
FLEXED_DEG = 90.0  # a closed joint, about: none of these hands reports angles of its own
MOVED = 0.005  # of the stroke between two reports: below it is noise
GENTLE_SPEED = 0.3  # of an opening that nobody asked for at this moment
STEPPED_NEUTRALS = (Neutral.FREEZE, Neutral.OPEN)
AHEAD = 0.15  # of the stroke: how far a command may lead what the hand reports; more presses harder on what it holds

# Closure of each finger, 0 open to 1 closed: thumb flexion, thumb opposition, index, middle, ring, little.
ANATOMY = ("thumb", "thumb_rotation", "index", "middle", "ring", "little")
POSTURES: dict[str, tuple[float, ...]] = {
    "open": (0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
    "power": (0.8, 0.8, 1.0, 1.0, 1.0, 1.0),
    "lateral": (0.7, 0.0, 0.9, 1.0, 1.0, 1.0),
    "pinch": (0.6, 0.9, 0.7, 0.0, 0.0, 0.0),
    "tripod": (0.6, 0.9, 0.7, 0.7, 0.0, 0.0),
    "point": (0.7, 0.7, 0.0, 1.0, 1.0, 1.0),
    "hook": (0.0, 0.0, 0.9, 0.9, 0.9, 0.9),
}


# A wrist is one more joint, 0 palm up to 1 palm down. Turning it leaves the fingers where they are, and the other way.
WRIST = "wrist"
TURNED = {PRONATE: 1.0, SUPINATE: 0.0}


def postures_of(joints: Sequence[Sequence[str]]) -> dict[str, tuple[float, ...]]:
    """POSTURES of a hand whose motors each move the named fingers: the mean of what those would do."""
    places = [[ANATOMY.index(finger) for finger in fingers] for fingers in joints]
    return {
        name: tuple(sum(closure[i] for i in place) / len(place) for place in places)
        for name, closure in POSTURES.items()
    }


class SteppedHand(Hand):
    """`postures` by grip, one closure a joint, None for a joint that stays where it is. Knows no position before the
    hand has reported one. `ranges_deg` has what full closure is where it is not FLEXED_DEG.
    """

    joints: tuple[str, ...]
    postures: Mapping[str, tuple[float | None, ...]]
    ranges_deg: ClassVar[Mapping[str, float]] = {}

    def __init__(self) -> None:
        self._sent: list[float] | None = None  # closure by joint, of the last command
        self._reported: tuple[float, ...] | None = None
        self.frames_bad = 0

    def tune(self, grip: str, joint: str, closure: float) -> None:
        """Have a grip end elsewhere, for this driver alone. Steps stay as short as they are.

        Raises:
            ValueError: no such grip or joint, a closure outside 0..1, a joint that this grip leaves where it is, or the
                opening, which stays as it is.
        """
        if grip == "open":
            raise ValueError("the opening is fixed: it opens every finger")
        if grip not in self.postures:
            raise ValueError(f"unknown grip {grip!r}; this hand knows {', '.join(self.postures)}")
        if joint not in self.joints:
            raise ValueError(f"unknown joint {joint!r}; this hand has {', '.join(self.joints)}")
        posture = list(self.postures[grip])
        at = self.joints.index(joint)
        if posture[at] is None:
            raise ValueError(f"{grip} leaves {joint} where it is")
        if not 0 <= closure <= 1:
            raise ValueError(f"closure {closure} of {joint} is not in 0..1")
        posture[at] = float(closure)
        self.postures = {**self.postures, grip: tuple(posture)}

    @abstractmethod
    def positions(self, closure: Sequence[float]) -> bytes:
        """One message that sends every joint to a closure 0..1. No speed of its own: steps are as short as they are."""

    def grip(self, name: str, speed: float, force: float) -> bytes:
        """One step towards a grip.

        Raises:
            ValueError: unknown grip, a value outside 0..1, or the hand has not said yet where its fingers are.
        """
        if name not in self.postures:
            raise ValueError(f"unknown grip {name!r}; this hand knows {', '.join(self.postures)}")
        if not 0 < speed <= 1:
            raise ValueError(f"grip speed {speed} is not in 0..1 (0 excluded)")
        if not 0 <= force <= 1:
            raise ValueError(f"grip force {force} is not in 0..1")
        if self._reported is None:
            raise ValueError("this hand has not reported its position yet")
        step = speed * COMMAND_S / FULL_STROKE_S
        before = self._reported if self._sent is None else self._sent
        self._sent = [
            at if goal is None else _towards(at, goal, step, at_hand)
            for at, goal, at_hand in zip(before, self.postures[name], self._reported, strict=True)
        ]
        return self.positions(self._sent)

    def open_hand(self, speed: float) -> bytes:
        return self.grip("open", speed, force=0.0)

    def stop(self) -> bytes:
        """A question: the hand is where the last step brought it, and stays there."""
        return self.poll()

    def relax(self) -> bytes:
        """None of these hands can let its motors go without a sign."""
        return self.stop()

    def neutral(self, choice: Neutral) -> bytes:
        """Opening goes on step by step, for as long as neutral is what is said; a hand that has reported nothing yet is
        asked. What the guard sends once the loop is dead is a question, so that the hand stays where it is then.
        """
        if choice is Neutral.OPEN and self._reported is not None:
            return self.open_hand(GENTLE_SPEED)
        return self.stop()

    def release(self) -> bytes:
        return b""

    def formed_deg(self, name: str) -> Mapping[str, float]:
        goals = zip(self.joints, self.postures[name], strict=True)
        return {joint: self._deg(joint, goal) for joint, goal in goals if goal is not None}

    def _deg(self, joint: str, closure: float) -> float:
        return self.ranges_deg.get(joint, FLEXED_DEG) * closure

    def _report(self, closure: Sequence[float], now_s: float) -> Feedback:
        """What the hand says of its joints: steps go on from what was sent, as long as the hand follows."""
        before, self._reported = self._reported, tuple(min(max(value, 0.0), 1.0) for value in closure)
        moving = before is not None and any(abs(a - b) > MOVED for a, b in zip(self._reported, before, strict=True))
        degrees = {joint: self._deg(joint, value) for joint, value in zip(self.joints, self._reported, strict=True)}
        return Feedback(now_s, degrees, moving=moving)


def _towards(at: float, goal: float, step: float, at_hand: float) -> float:
    moved = min(max(goal, at - step), at + step)
    if moved > at:  # closing: what is held is not pressed harder and harder
        return max(min(moved, at_hand + AHEAD), min(at, at_hand + AHEAD))
    return min(moved, max(at_hand, goal)) if at > at_hand + AHEAD else moved
