"""Tiny worked cases of part 4, continued: the loss in pieces, Muon, schedules, resuming."""

import tempfile
from pathlib import Path

import torch
from worked_cases import case, filled, wave

TARGETS = torch.tensor([1, -100, 3, 0, 2])


def head(load, targets=TARGETS, small=False, factor=1.0, weight_learns=True):
    module = load("gpt.head_loss")
    before = module.PIECE_VALUES, module.LEAST_TOKENS
    if small:
        module.PIECE_VALUES, module.LEAST_TOKENS = 8, 2
    try:
        x = (2 * wave(len(targets), 3)).requires_grad_()
        weight = (2 * wave(4, 3, start=1.0)).requires_grad_(weight_learns)
        loss = module.HeadLoss.apply(x, weight, targets, torch.float32)
        (factor * loss).backward()
        return {"loss": loss, "gradient of x": x.grad, "of the weight": weight.grad}
    finally:
        module.PIECE_VALUES, module.LEAST_TOKENS = before


@case("4.2c", "five tokens, one of them not counted, four words: the loss")
def loss_alone(load):
    return head(load)["loss"]


@case("4.2c", "the same: the gradient of x")
def x_gradient(load):
    return head(load)["gradient of x"]


@case("4.2c", "the same: the gradient of the weight")
def weight_gradient(load):
    return head(load)["of the weight"]


@case("4.2c", "the same in pieces of two tokens")
def in_pieces(load):
    return head(load, small=True)


@case("4.2c", "no label at all")
def no_label(load):
    return head(load, torch.full((3,), -100))


@case("4.2c", "the loss times 3 before backward: the gradient of x")
def times_three(load):
    return head(load, factor=3.0)["gradient of x"]


@case("4.2c", "logits of 1000 and 0: the loss")
def large(load):
    module = load("gpt.head_loss")
    return module.HeadLoss.apply(torch.tensor([[1000.0]]), torch.tensor([[1.0], [0.0]]),
                                 torch.tensor([1]), torch.float32)


@case("4.2c", "two tokens whose logits differ by 200: the loss")
def far_apart(load):
    module = load("gpt.head_loss")
    return module.HeadLoss.apply(torch.tensor([[200.0], [1.0]]), torch.tensor([[1.0], [0.5]]),
                                 torch.tensor([0, 0]), torch.float32)


@case("4.2c", "a weight that does not learn: the gradient of x")
def frozen_weight(load):
    return head(load, weight_learns=False)


@case("4.2d", "the singular values of three matrices of 2 x 3, afterwards")
def singular_values(load):
    made = load("run.optim").orthogonal(wave(3, 2, 3), torch.float32)
    return torch.linalg.svdvals(made.double())


@case("4.2d", "a tall matrix, 4 x 2, afterwards")
def tall(load):
    return load("run.optim").orthogonal(wave(1, 4, 2), torch.float32)


def muon(load, shape, steps=1, parts=None, decay=0.0):
    optim = load("run.optim")
    p = torch.nn.Parameter(wave(*shape))
    group = {"params": [p], "kind": "muon", "scale": 1.0, "weight_decay": decay,
             "parts": {p: parts} if parts else {}}
    optimizer = optim.Muon([group], 0.1, (0.9, 0.95), dtype=torch.float32)
    for step in range(steps):
        p.grad = wave(*shape, start=3.0 + step)
        optimizer.step()
    return p.detach()


@case("4.2d", "one step on a square matrix, rate 0.1")
def one_step(load):
    return muon(load, (3, 3))


@case("4.2d", "two steps")
def two_steps(load):
    return muon(load, (3, 3), 2)


@case("4.2d", "one step on a tall matrix, 4 x 2")
def tall_step(load):
    return muon(load, (4, 2))


@case("4.2d", "one step on a wide matrix, 2 x 4")
def wide_step(load):
    return muon(load, (2, 4))


@case("4.2d", "one step on a matrix that holds two of 2 x 3")
def two_in_one(load):
    return muon(load, (4, 3), parts=[2, 2])


@case("4.2d", "one step with weight decay 0.5")
def decayed(load):
    return muon(load, (3, 3), decay=0.5)


def rates(load, kind, *done, **what):
    schedule = load("run.schedule").Schedule(kind, **{"peak": 1.0, "low": 0.1, "warmup": 0.2,
                                                      "decay": 0.4} | what)
    return [schedule.rate(x) for x in done]


@case("4.3", "peak 1, low 0.1, warmup 0.2: cosine at 0.1, 0.2, 0.6 and 1")
def cosine(load):
    return rates(load, "cosine", 0.1, 0.2, 0.6, 1.0)


@case("4.3", "linear at 0.1, 0.2, 0.6 and 1")
def linear(load):
    return rates(load, "linear", 0.1, 0.2, 0.6, 1.0)


@case("4.3", "wsd, decay 0.4, at 0.1, 0.2, 0.5, 0.6, 0.8 and 1")
def wsd(load):
    return rates(load, "wsd", 0.1, 0.2, 0.5, 0.6, 0.8, 1.0)


@case("4.3", "constant at 0.1, 0.5 and 1")
def constant(load):
    return rates(load, "constant", 0.1, 0.5, 1.0)


@case("4.3", "cosine beyond its end, at 1.3 and 1.8")
def cosine_beyond(load):
    return rates(load, "cosine", 1.3, 1.8)


@case("4.3", "linear and wsd beyond their end, at 1.3")
def others_beyond(load):
    return rates(load, "linear", 1.3) + rates(load, "wsd", 1.3)


@case("4.3", "no warmup: cosine and linear at 0 and 0.5")
def no_warmup(load):
    return [rates(load, kind, 0.0, 0.5, warmup=0.0) for kind in ("cosine", "linear")]


@case("4.3", "learning_rate with a warmup of 1: refused")
def all_warmup(load):
    return load("run.schedule").learning_rate(0.5, peak=1.0, final=0.0, warmup=1.0)


def trained(load, steps=3):
    optim = load("run.optim")
    model = filled(torch.nn.Linear(2, 2))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    for step in range(steps):
        for number, p in enumerate(model.parameters()):
            p.grad = wave(*p.shape, start=float(step + number))
        optimizer.step()
    return optim, model, optimizer


@case("4.4", "the state of AdamW after three steps, by name")
def state(load):
    optim, model, optimizer = trained(load)
    found = optim.optimizer_state(model, optimizer)
    return {name: {key: found[name][key] for key in sorted(found[name])} for name in sorted(found)}


@case("4.4", "the state is a copy: does it change when the optimizer goes on?")
def copied(load):
    optim, model, optimizer = trained(load)
    found = optim.optimizer_state(model, optimizer)["weight"]["exp_avg"]
    before = found.clone()
    model.weight.grad = torch.ones(2, 2)
    optimizer.step()
    return bool(torch.equal(before, found))


@case("4.4", "a step of an optimizer that took over that state")
def taken_over(load):
    optim, model, optimizer = trained(load)
    saved = optim.optimizer_state(model, optimizer)
    other = torch.optim.AdamW(model.parameters(), lr=0.1)
    optim.load_optimizer_state(model, other, saved)
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    other.step()
    return list(model.parameters())


@case("4.4", "the state of a model with other names: refused")
def other_names(load):
    optim, model, optimizer = trained(load)
    saved = optim.optimizer_state(model, optimizer)
    return optim.load_optimizer_state(torch.nn.Sequential(model), optimizer, saved)


def checkpoints(load, steps, keep=2, best=None):
    """The files that are there after each save, and at the time of writing."""
    module = load("run.checkpoint")
    before, during = module.save_checkpoint, []
    with tempfile.TemporaryDirectory() as folder:
        made = module.Checkpoints(Path(folder) / "run", keep)

        def write(path, step, **content):
            during.append([p.name for p in made.paths()])
            Path(path).write_text(str(step))
        module.save_checkpoint = write
        try:
            for step in steps:
                made.save(step, best)
        finally:
            module.save_checkpoint = before
        return [path.name for path in made.paths()], during


@case("4.4", "steps 1, 2, 3, 4 saved, the last two are kept: what is there in the end")
def last_two(load):
    return checkpoints(load, (1, 2, 3, 4))[0]


@case("4.4", "the same with step 1 as the best")
def and_the_best(load):
    return checkpoints(load, (1, 2, 3, 4), best=1)[0]


@case("4.4", "what was there while each new one was written")
def written_first(load):
    return checkpoints(load, (1, 2, 3, 4))[1]


@case("4.4", "the newest of three, where the third is damaged and the second whole")
def newest_whole(load):
    module = load("run.checkpoint")
    before = module.read_checkpoint

    def read(path):
        if "3" in Path(path).name:
            raise ValueError("damaged")
        return {"training": dict.fromkeys(module.TRAINING, 0), "name": Path(path).name}
    module.read_checkpoint = read
    try:
        with tempfile.TemporaryDirectory() as folder:
            for step in (1, 2, 3):
                (Path(folder) / f"step_{step:08d}.pt").write_text("x")
            return module.Checkpoints(Path(folder)).newest()[1]["name"]
    finally:
        module.read_checkpoint = before


@case("4.4", "the newest of two, where the second is a finished model, without the state of a training")
def newest_of_a_training(load):
    module = load("run.checkpoint")
    before = module.read_checkpoint
    full = dict.fromkeys(module.TRAINING, 0)

    def read(path):
        return {"training": full if "1" in Path(path).name else None, "name": Path(path).name}
    module.read_checkpoint = read
    try:
        with tempfile.TemporaryDirectory() as folder:
            for step in (1, 2):
                (Path(folder) / f"step_{step:08d}.pt").write_text("x")
            return module.Checkpoints(Path(folder)).newest()[1]["name"]
    finally:
        module.read_checkpoint = before
