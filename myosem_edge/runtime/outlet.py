"""What leaves for the hand: which frames a verdict is worth now, each of them checked against the hand's whitelist.

Nothing is stored and sent later. A frame is made from the verdict that it is asked for, in the cycle that sends it
(SR-13), and a frame that the hand's driver would not have made itself does not leave (SR-11).
"""

from __future__ import annotations

from myosem_edge.errors import RefusedError
from myosem_edge.firmware_bridge.hands.base import Hand, Neutral
from myosem_edge.runtime.gate import HOLD, NEUTRAL, Command

POLL_S = 0.100  # five answers fit into the gate's patience with a hand
NEUTRAL_AGAIN_S = 0.100  # a neutral that the wire has swallowed must not leave a hand moving that needs no keep-alive


class NotAllowedError(Exception):
    """Bytes that are not on the hand's whitelist: a defect, not a user's mistake."""


class Outlet:
    """Everything that may be said to one hand.

    `neutral_frame` is the wearer's choice of neutral as it stands before anything is known of the hand, `halt_frame`
    keeps hold whatever was chosen, `farewell` are the last frames of a session. They exist before anything goes wrong.

    Raises:
        RefusedError: this hand has no such neutral.
    """

    def __init__(self, hand: Hand, neutral: Neutral) -> None:
        if neutral not in hand.info.neutrals:
            raise RefusedError(
                f"the {hand.info.name} has no neutral '{neutral.value}'",
                expected=" or ".join(each.value for each in hand.info.neutrals),
            )
        self._hand, self._neutral = hand, neutral
        self.neutral_frame = self._checked(hand.neutral(neutral))
        self.halt_frame = self._checked(hand.stop())
        release = hand.release()
        self.release_frame = self._checked(release) if release else b""
        self.asks = bool(hand.poll())  # whether this hand can be asked how it is
        self._keep_alive_s = None if hand.info.keep_alive_s is None else hand.info.keep_alive_s / 2
        self.commands = self.polls = 0
        self._locked = False
        self._engaged = False  # for the whole session: a hand that comes back may still be moving
        self.reset(0.0)

    def reset(self, now_s: float) -> None:
        """A port was opened: nothing has been sent through it."""
        self._sent: Command | None = None
        self._sent_s = self._polled_s = now_s

    def halt(self, now_s: float) -> tuple[bytes, ...]:
        """The first frame on a port that is back: neutral, for a hand that had been commanded before."""
        return self.fall_back(now_s) if self._engaged else ()

    def greeting(self) -> tuple[bytes, ...]:
        """The first frames on a port of a hand at rest; they ask, and move nothing."""
        first = self._hand.start()
        return (self._checked(first),) if first else ()

    @property
    def farewell(self) -> tuple[bytes, ...]:
        """Neutral, then the hand back to its own inputs. A hand that is locked, or was never commanded, is halted."""
        last = self.neutral_frame if self._engaged and not self._locked else self.halt_frame
        return (last, self.release_frame) if self.release_frame else (last,)

    def command(self, command: Command, armed: bool, now_s: float) -> tuple[bytes, ...]:
        """The frame of this verdict, if the hand has to hear it now.

        Before the first arming nothing leaves, unless the wearer presses open. A new command leaves at once, the same
        one again only as often as the hand's keep-alive wants it.

        Raises:
            NotAllowedError, ValueError: the driver refuses the command. Then `fall_back` has the frame to send.
        """
        self._locked = command.kind == "hold"
        self._engaged = self._engaged or armed or command.kind != "neutral"
        if not self._engaged or not self._is_due(command, now_s):
            return ()
        return self._sending(self._checked(self._encoded(command)), command, now_s)

    def fall_back(self, now_s: float) -> tuple[bytes, ...]:
        """Neutral, whatever was asked for; a hand whose last verdict was to hold is halted."""
        command, frame = (HOLD, self.halt_frame) if self._locked else (NEUTRAL, self.neutral_frame)
        return self._sending(frame, command, now_s)

    def poll(self, now_s: float, commanded: bool) -> tuple[bytes, ...]:
        """The question for feedback, when it is time; it gives way to a command, but not for ever."""
        if not self.asks or now_s - self._polled_s < (2 * POLL_S if commanded else POLL_S):
            return ()
        frame = self._checked(self._hand.poll())
        self._polled_s = now_s
        self.polls += 1
        return (frame,)

    def _is_due(self, command: Command, now_s: float) -> bool:
        if command != self._sent:
            return True
        again_s = self._keep_alive_s
        if command.kind in ("neutral", "hold"):
            again_s = NEUTRAL_AGAIN_S if again_s is None else min(again_s, NEUTRAL_AGAIN_S)
        return again_s is not None and now_s - self._sent_s >= again_s - 1e-9

    def _encoded(self, command: Command) -> bytes:
        if command.kind == "grip":
            return self._hand.grip(str(command.grip), command.speed, command.force)
        if command.kind == "open":
            return self._hand.open_hand(command.speed)
        return self.halt_frame if command.kind == "hold" else self._hand.neutral(self._neutral)

    def _sending(self, frame: bytes, command: Command, now_s: float) -> tuple[bytes, ...]:
        self._sent, self._sent_s = command, now_s
        self.commands += 1
        return (frame,)

    def _checked(self, frame: bytes) -> bytes:
        if not self._hand.may_send(frame):
            raise NotAllowedError(f"this hand may not be sent {frame.hex(' ')}")
        return frame
