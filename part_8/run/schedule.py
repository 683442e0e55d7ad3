"""The learning rate over a run: a warmup, then one of three ways down.

Math   s = share of the run that is done, w = share for warmup, d = share for the decay of WSD
       warmup   rate = peak * s / w                                     while s < w    (eq. 4.10)
       cosine   rate = low + (peak - low) * (1 + cos(pi r)) / 2         r = (s - w)/(1 - w)  (eq. 4.11)
       linear   rate = low + (peak - low) * (1 - r)                     (eq. 4.12)
       wsd      rate = peak, and over the last d linearly down to low   (eq. 4.13)
Used   train.py.   See it: python demo_schedules.py
Source Loshchilov and Hutter 2017 (SGDR: cosine); Hu et al. 2024 (MiniCPM: warmup-stable-decay)

The share that is done is step / steps, or minutes / all minutes for a run of given length. Both may
pass 1, where a run is continued beyond its plan: the rate then stays at its minimum. A bare cosine
would climb again.
"""

import math
from dataclasses import dataclass

# NEW in part 4
KINDS = ("cosine", "linear", "wsd", "constant")


def learning_rate(progress: float, *, peak: float, final: float, warmup: float) -> float:
    """The rate at `progress` (0 … 1, beyond 1 it stays at `final`); `warmup` is a share of the run.

    learning_rate(0.05, peak=1, final=0, warmup=0.1) -> 0.5;  at 0.1 -> 1;  at 0.55 -> 0.5
    """
    if not 0 <= warmup < 1:
        raise ValueError(f"warmup={warmup} must be at least 0 and below 1: a share of the run")
    if progress < warmup:
        return peak * progress / warmup
    after = min(1.0, (progress - warmup) / (1 - warmup))  # min: a cosine would climb again
    return final + (peak - final) * (1 + math.cos(math.pi * after)) / 2  # eq. 2.4


# NEW in part 4
@dataclass(frozen=True)
class Schedule:
    """How the learning rate moves. `schedule.rate(done)` is a pure function: nothing to restore."""

    kind: str = "cosine"     # cosine, linear, wsd (warmup, stable, decay) or constant
    peak: float = 3e-3       # the highest learning rate
    low: float = 3e-4        # the lowest, at the end and ever after
    warmup: float = 0.05     # share of the run in which the rate climbs to its peak
    decay: float = 0.2       # wsd only: share of the run in which it comes down

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ValueError(f"schedule {self.kind!r}: unknown; choose {', '.join(KINDS)}")
        if not 0 <= self.low <= self.peak or self.peak == 0:
            raise ValueError(f"learning rates: need 0 <= low <= peak and peak > 0, "
                             f"got low={self.low}, peak={self.peak}")
        if not 0 <= self.warmup < 1 or not 0 < self.decay <= 1:
            raise ValueError(f"warmup={self.warmup} must be in [0, 1), decay={self.decay} in (0, 1]")
        if self.kind == "wsd" and self.warmup + self.decay > 1:
            raise ValueError(f"warmup={self.warmup} and decay={self.decay} take more than the run")

    def rate(self, done: float) -> float:
        """Share of the run that will be done after this step (0 … 1 and beyond) -> rate.

        >>> Schedule("linear", peak=1.0, low=0.0, warmup=0.5).rate(0.25)
        0.5
        """
        if self.kind == "cosine":
            return learning_rate(done, peak=self.peak, final=self.low, warmup=self.warmup)
        if done < self.warmup:
            return self.peak * done / self.warmup
        if self.kind == "constant":
            return self.peak
        start = 1 - self.decay if self.kind == "wsd" else self.warmup
        down = min(max((done - start) / (1 - start), 0.0), 1.0)  # never past 1: no second climb
        return self.low + (self.peak - self.low) * (1 - down)
