"""The learning rate over a run: up in a straight line, down along half a cosine, then flat.

Math   with progress u = (steps done + 1) / steps, or time gone / time allowed:       (eq. 2.4)
       u < w:  peak * u / w
       else:   final + (peak - final) * (1 + cos(pi * (u - w) / (1 - w))) / 2, flat from u = 1 on
Used   train_gpt.py   (lesson 2.4)
Source Loshchilov and Hutter 2017, "SGDR" (the cosine)
"""

import math


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
