"""Every number of the gate: its unit, its reason, and in which direction a wearer's may differ."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

Number = int | float


def is_number(value: object) -> bool:
    """A finite number of ordinary size: 1e9 s is thirty years, far above every quantity here."""
    return isinstance(value, (int, float)) and -1e9 < value < 1e9


def _limit(default: Number, unit: str, tighter: Literal["lower", "higher", "fixed"], reason: str) -> Any:
    return field(default=default, metadata={"unit": unit, "tighter": tighter, "reason": reason})


@dataclass(frozen=True)
class Limits:
    """Every number of the gate; a field's metadata has its unit, its reason and which direction is tighter.

    Raises ValueError for a value that is not a positive number, and for values that contradict each other.
    """

    stale_s: float = _limit(0.150, "s", "lower", "six hops of 25 ms without a sample is a broken link")
    stale_latch_s: float = _limit(1.0, "s", "lower", "a longer silence is no hiccup: the wearer decides when to go on")
    recover_s: float = _limit(0.5, "s", "higher", "a loose plug flickers for less than this")
    healthy_s: float = _limit(1.0, "s", "higher", "filters have settled and every input has been seen before arming")
    lost_fraction: float = _limit(0.02, "of 1 s", "lower", "above this, windows no longer look like those trained on")
    bad_channels: int = _limit(2, "channels", "lower", "one of eight can be masked, two change what actions look like")
    close_votes: int = _limit(3, "decisions", "higher", "closing needs more evidence than letting go")
    close_window: int = _limit(4, "decisions", "lower", "3 of 4 costs two hops and stops alternating labels")
    release_votes: int = _limit(1, "decisions", "lower", "opening or stopping must be easy")
    release_window: int = _limit(2, "decisions", "higher", "a grip waits until this many decisions in a row ask for it")
    decision_stale_s: float = _limit(0.150, "s", "lower", "no command outlives the decision that it came from")
    dwell_s: float = _limit(0.300, "s", "higher", "fingers need a moment of rest between two grips")
    max_speed: float = _limit(1.0, "of hand", "lower", "the hand's own maximum; a wearer's is lower")
    max_force: float = _limit(1.0, "of hand", "lower", "the hand's own maximum; a wearer's is lower")
    max_speed_step: float = _limit(0.25, "of hand", "lower", "full speed takes four commands, time enough to react")
    max_commands_per_s: float = _limit(50.0, "1/s", "lower", "one per 20 ms tick; more only floods the hand's queue")
    rate_window_s: float = _limit(0.250, "s", "fixed", "counted over wall time, so sending faster gains nothing")
    max_close_s: float = _limit(10.0, "s", "lower", "a motor pushing for longer overheats")
    loop_late_s: float = _limit(0.050, "s", "lower", "two hops of 25 ms")
    feedback_stale_s: float = _limit(0.5, "s", "lower", "several missed answers: the hand is off or unplugged")
    max_time_jump_s: float = _limit(1.0, "s", "lower", "nothing that was measured before such a gap is worth anything")

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not is_number(value) or value < 0 or (value == 0 and name != "lost_fraction"):
                raise ValueError(f"limit {name}: found {value!r}, expected a number above 0")
        for name in ("bad_channels", "close_votes", "close_window", "release_votes", "release_window"):
            if not isinstance(getattr(self, name), int):
                raise ValueError(f"limit {name}: found {getattr(self, name)!r}, expected a whole number")
        for name in ("max_speed", "max_force", "lost_fraction"):
            if getattr(self, name) > 1:
                raise ValueError(f"limit {name}: found {getattr(self, name)!r}, expected at most 1")
        if self.close_votes > self.close_window or self.release_votes > self.release_window:
            raise ValueError("limit votes: more votes are wanted than decisions are looked at")
        if self.messages_per_window < 1:
            raise ValueError(f"limit max_commands_per_s: expected at least one in {self.rate_window_s} s")

    @property
    def messages_per_window(self) -> int:
        """How many messages any `rate_window_s` may hold."""
        return int(self.max_commands_per_s * self.rate_window_s)

    def tightened(self, **wearer: Number) -> Limits:
        """These limits with some made tighter. Raises ValueError for an unknown name and for a wider value."""
        known = {each.name: each for each in fields(self)}
        for name, value in wearer.items():
            if name not in known or not is_number(value):
                raise ValueError(f"limit {name}: found {value!r}, expected a number for one of {', '.join(known)}")
            present, tighter = getattr(self, name), known[name].metadata["tighter"]
            wider = {"lower": value > present, "higher": value < present, "fixed": value != present}
            if wider[tighter]:
                raise ValueError(f"limit {name}: found {value!r}, which is wider than {present!r}")
        return replace(self, **wearer)  # type: ignore[arg-type]  # __post_init__ checks every value
