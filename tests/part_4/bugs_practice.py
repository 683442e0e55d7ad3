"""Mistakes that learners make where practice.py lets them write, in part 4; each must fail a test."""

from planted import Bug

BUGS = [
    Bug("Muon steps along the gradient, not its mean", "part_4/run/optim.py",
        "ahead = whole(p.grad.lerp(mean, self.momentum))",
        "ahead = whole(p.grad.clone())",
        "tests/part_4/test_loop.py"),
    Bug("Muon without weight decay", "part_4/run/optim.py",
        "p.mul_(1 - group[\"lr\"] * group[\"weight_decay\"])",
        "pass",
        "tests/part_4/test_loop.py"),
    Bug("Muon's matrix is not divided by its norm", "part_4/run/optim.py",
        "x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)",
        "x = x / 1.0",
        "tests/part_4/test_loop.py"),
    Bug("the moments of the optimizer are those of the other way round", "part_4/run/optim.py",
        "state[key] = torch.zeros_like(parameter)\n                put(state[key], value)",
        "state[key] = torch.zeros_like(parameter)\n                put(state[key], "
        "saved[\"exp_avg\"])",
        "tests/part_4/test_loop.py"),
    Bug("the oldest checkpoint is taken for the newest", "part_4/run/checkpoint.py",
        "for path in reversed(self.paths()):",
        "for path in self.paths():",
        "tests/part_4/test_checkpoint.py"),
    Bug("linear and wsd rise from the minimum", "part_4/run/schedule.py",
        "return self.low + (self.peak - self.low) * (1 - down)",
        "return self.low + (self.peak - self.low) * down",
        "tests/part_4/test_schedule.py"),
    Bug("linear and wsd come down to 0", "part_4/run/schedule.py",
        "return self.low + (self.peak - self.low) * (1 - down)",
        "return self.peak * (1 - down)",
        "tests/part_4/test_schedule.py"),
]
