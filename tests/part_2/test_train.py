"""The loop, the schedule, the update, the checkpoint; the same seed gives the same weights."""

import itertools
import math
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
import train_gpt
from checkpoint import FIELDS, load_checkpoint, read_checkpoint, save_checkpoint
from data import split_bytes
from evaluation import evaluate
from model import GPT, GPTConfig
from presets import PRESETS, Settings, choose_settings
from runtime import Runtime, seed_everything
from schedule import learning_rate
from train_gpt import History, finish, make_optimizer, parse_args, progress_of, train, update

CPU = Runtime(torch.device("cpu"), None, "", "")
SETTINGS = Settings(n_layer=1, n_head=2, n_embd=16, block_size=8, batch_size=4, steps=30, lr=1e-2,
                    evaluations=3, eval_bytes=100)
TEXT = b"the owl and the fox went over the hill and under the hedge. " * 20


class Log:
    """Keeps what TensorBoard would be given."""

    def __init__(self):
        self.seen = {}

    def add_scalar(self, name, value, step):
        self.seen.setdefault(name, []).append((step, value))


def run(settings=SETTINGS, seed=1, runtime=CPU):
    seed_everything(seed)
    train_data, val_data = split_bytes(TEXT)
    model = GPT(GPTConfig(block_size=settings.block_size, n_layer=settings.n_layer,
                          n_head=settings.n_head, n_embd=settings.n_embd,
                          dropout=settings.dropout))
    log = Log()
    history = train(model, train_data, val_data, settings, runtime,
                    torch.Generator().manual_seed(seed), log)
    return model, history, log, val_data


# ---------------------------------------------------------------- schedule

def rate(progress, **changes):
    return learning_rate(progress, **{"peak": 1.0, "final": 0.1, "warmup": 0.2, **changes})


def test_schedule_by_hand():
    assert rate(0.1) == pytest.approx(0.5)          # half of the warmup
    assert rate(0.2) == pytest.approx(1.0)          # its end
    assert rate(0.6) == pytest.approx(0.55)         # half of the cosine
    assert rate(0.4) == pytest.approx(0.1 + 0.9 * (1 + math.sqrt(0.5)) / 2)
    assert rate(1.0) == pytest.approx(0.1)


def test_warmup_starts_low_and_climbs():
    values = [rate(i / 100) for i in range(1, 21)]
    assert values[0] == pytest.approx(0.05)
    assert all(a < b for a, b in itertools.pairwise(values))


def test_schedule_never_climbs_again_after_its_last_step():
    values = [rate(0.2 + i / 50) for i in range(200)]
    assert all(a >= b for a, b in itertools.pairwise(values))
    assert rate(1.7) == rate(3.0) == pytest.approx(0.1)


def test_schedule_without_warmup_starts_at_the_peak_and_refuses_nonsense():
    assert rate(0.0, warmup=0.0) == 1.0
    with pytest.raises(ValueError, match="warmup=1.0 must be"):
        rate(0.5, warmup=1.0)


def test_progress_is_the_further_of_steps_and_minutes():
    both = replace(SETTINGS, steps=100, minutes=2.0)
    assert progress_of(50, 30.0, both) == 0.5
    assert progress_of(50, 90.0, both) == 0.75
    assert progress_of(50, 1e9, replace(SETTINGS, steps=100)) == 0.5


# ---------------------------------------------------------------- the loop

def test_training_learns_and_logs_what_it_did():
    model, history, log, val_data = run(replace(SETTINGS, steps=150))
    assert history.steps == 150 and not history.stopped
    assert history.train[0][1] > 4.5 and evaluate(model, val_data) < 3  # seeds 1-5: 1.2 to 2.5
    assert [step for step, _ in history.val] == [50, 100, 150]
    assert set(log.seen) == {"loss/train", "loss/validation", "rate", "gradient_norm",
                             "tokens_per_second"}
    assert all(norm > 0 for _, norm in log.seen["gradient_norm"])


def test_the_rates_used_are_those_of_the_schedule(monkeypatch):
    made, real = [], train_gpt.make_optimizer
    monkeypatch.setattr(train_gpt, "make_optimizer",
                        lambda *args: made.append(real(*args)) or made[-1])
    _, _, log, _ = run()
    assert [group["lr"] for group in made[0].param_groups] == pytest.approx([1e-3, 1e-3])
    for step, used in log.seen["rate"]:
        assert used == pytest.approx(learning_rate(step / 30, peak=1e-2, final=1e-3, warmup=0.05))


def test_the_same_seed_gives_the_same_weights_and_another_seed_others():
    settings = replace(SETTINGS, dropout=0.2)
    a, b, c = (run(settings, seed)[0].state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not torch.equal(a["token_embedding.weight"], c["token_embedding.weight"])


def test_a_run_by_the_clock_ends():
    _, history, _, _ = run(replace(SETTINGS, steps=None, minutes=0.01))
    assert 0.6 <= history.seconds < 10 and history.steps > 0


def test_training_is_in_train_mode_after_each_evaluation():
    modes = []
    seen = train_gpt.report
    def spy(*args):
        modes.append(model_box[0].training)
        seen(*args)
    model_box = []
    class Spied(GPT):
        def __init__(self, config):
            super().__init__(config)
            model_box.append(self)
    train_gpt.report = spy
    try:
        model = Spied(GPTConfig(block_size=8, n_layer=1, n_head=2, n_embd=16))
        train_data, val_data = split_bytes(TEXT)
        train(model, train_data, val_data, replace(SETTINGS, evaluations=30), CPU,
              torch.Generator(), Log())
    finally:
        train_gpt.report = seen
    assert modes == [True] * 3


def test_the_weights_of_the_lowest_validation_loss_are_kept():
    model, history, log, val_data = run(replace(SETTINGS, steps=100, evaluations=10))
    best = min(loss for _, loss in history.val)
    with torch.no_grad():  # as if the last steps had spoiled it
        for parameter in model.parameters():
            parameter.mul_(3)
    history.val.append((history.steps, 99.0))
    finish(model, val_data, SETTINGS, history, log)
    assert evaluate(model, val_data) == pytest.approx(best, rel=1e-6)


def test_a_loss_that_is_no_number_stops_the_run_with_advice():
    with pytest.raises(ValueError, match="the loss became nan at step 10; try a lower --lr"):
        train_gpt.report(History(steps=10), [torch.tensor(float("nan"))], 1.0, torch.tensor(1.0),
                         1.0, None, SETTINGS, Log())


# ---------------------------------------------------------------- the update

def one_step(scale: float, clip: float):
    """One update of a single weight whose gradient is 3 before scaling -> norm, optimizer."""
    model = torch.nn.Linear(1, 1, bias=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    scaler = torch.amp.GradScaler("cpu", enabled=scale != 1, init_scale=scale)
    before = model.weight.item()
    scaler.scale(3 * model.weight.sum()).backward()
    norm = update(model, optimizer, scaler, clip)
    return norm.item(), before - model.weight.item(), model.weight.grad


@pytest.mark.parametrize("scale", [1.0, 1024.0])
def test_gradients_are_clipped_after_they_are_unscaled(scale):
    norm, moved, _ = one_step(scale, clip=1.0)
    assert norm == pytest.approx(3) and moved == pytest.approx(1, rel=1e-4)
    norm, moved, _ = one_step(scale, clip=10.0)  # below the limit: left alone
    assert norm == pytest.approx(3) and moved == pytest.approx(3)


def test_gradients_are_dropped_after_the_step():
    assert one_step(1.0, 1.0)[2] is None


def test_float16_with_a_scaler_trains_like_float32():
    half = Runtime(torch.device("cpu"), torch.float16, "", "")
    a, b = run()[1].train[-1][1], run(runtime=half)[1].train[-1][1]
    assert a == pytest.approx(b, abs=0.05)


def test_the_optimizer_has_the_settings_given():
    model = GPT(GPTConfig(n_layer=1))
    optimizer = make_optimizer(model, replace(SETTINGS, weight_decay=0.3, beta2=0.95))
    assert optimizer.param_groups[0]["weight_decay"] == 0.3
    assert optimizer.param_groups[1]["weight_decay"] == 0.0
    assert optimizer.param_groups[0]["betas"] == (0.9, 0.95)


# ---------------------------------------------------------------- settings

def test_presets_are_what_their_names_say():
    nano = PRESETS["nanogpt_cpu"]
    assert (nano.n_layer, nano.n_head, nano.n_embd, nano.block_size, nano.batch_size,
            nano.steps, nano.dropout) == (4, 4, 128, 64, 12, 2000, 0.0)
    assert PRESETS["three_minutes"].minutes <= 3 and PRESETS["three_minutes"].steps is None


def test_flags_replace_the_presets_values():
    settings = choose_settings(parse_args(["--steps", "7", "--width", "64", "--preset",
                                           "three_minutes"]))
    assert (settings.steps, settings.minutes, settings.n_embd) == (7, None, 64)
    settings = choose_settings(parse_args(["--minutes", "0.5"]))
    assert (settings.steps, settings.minutes) == (None, 0.5)
    settings = choose_settings(parse_args(["--minutes", "0.5", "--steps", "9"]))
    assert (settings.steps, settings.minutes) == (9, 0.5)


@pytest.mark.parametrize("flag, value", [("--steps", "0"), ("--lr", "-1"), ("--batch-size", "0"),
                                         ("--minutes", "-2"), ("--evaluations", "0")])
def test_settings_of_the_loop_out_of_range_are_refused(flag, value):
    with pytest.raises(ValueError, match=f"{flag} .*must be above 0"):
        choose_settings(parse_args([flag, value]))


# ---------------------------------------------------------------- the checkpoint

def saved(tmp_path: Path, **changes) -> tuple[Path, GPT]:
    model = GPT(GPTConfig(n_layer=1, n_head=2, n_embd=8, block_size=8, **changes)).eval()
    path = tmp_path / "gpt.pt"
    save_checkpoint(path, model, step=5, settings=asdict(SETTINGS), metrics={"val_loss": 1.0})
    return path, model


@pytest.mark.parametrize("changes", [{}, {"tied": False}, {"bias": True, "gelu": "tanh"}])
def test_a_checkpoint_gives_the_same_model_back(tmp_path, changes):
    path, model = saved(tmp_path, **changes)
    again, checkpoint = load_checkpoint(path)
    ids = torch.randint(256, (2, 8))
    assert torch.equal(model(ids)[0], again(ids)[0])
    assert again.config == model.config and not again.training
    assert (again.head.weight is again.token_embedding.weight) == model.config.tied
    assert checkpoint["step"] == 5 and checkpoint["metrics"] == {"val_loss": 1.0}
    assert set(checkpoint) == set(FIELDS)


def test_a_checkpoint_cut_short_at_any_place_is_refused(tmp_path):
    path, _ = saved(tmp_path)
    whole = path.read_bytes()
    for share in (0.0, 0.01, 0.3, 0.6, 0.9, 0.99, 0.9999):
        path.write_bytes(whole[:int(share * len(whole))])
        with pytest.raises(ValueError, match="gpt.pt: .*make it with: python part_2/train_gpt"):
            read_checkpoint(path)


def test_files_that_are_no_checkpoint_of_ours_are_refused(tmp_path):
    path, _ = saved(tmp_path)
    good = torch.load(path, weights_only=True)
    cases = [({"a": 1}, "no checkpoint of this part"), ([1, 2], "no checkpoint of this part"),
             ({**good, "format": 99}, "holds format 99"),
             ({**good, "kind": "other"}, "kind 'other'"),
             ({k: v for k, v in good.items() if k != "weights"}, "lacks weights"),
             ({**good, "config": {**good["config"], "rope": 1}}, r"do not fit.*\(rope\)"),
             ({**good, "config": {**good["config"], "n_embd": 16}}, "weights do not fit")]
    for content, says in cases:
        torch.save(content, path)
        with pytest.raises(ValueError, match=says):
            load_checkpoint(path)
    path.write_text("only text")
    with pytest.raises(ValueError, match="this is no checkpoint file"):
        load_checkpoint(path)
    with pytest.raises(FileNotFoundError, match="no such checkpoint; make it with"):
        load_checkpoint(tmp_path / "none.pt")


def full_disk(data, path):
    """What torch.save does on a disk that has filled up: part of the file, then the error."""
    Path(path).write_bytes(b"PK half")
    with open("/dev/full", "wb", buffering=0) as file:
        file.write(b"x")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full (Linux)")
def test_a_full_disk_harms_no_older_checkpoint_and_leaves_no_debris(tmp_path, monkeypatch):
    path, model = saved(tmp_path)
    before = path.read_bytes()
    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(OSError, match="could not be written .*No space left.*--out"):
        save_checkpoint(path, model, step=9, settings={}, metrics={})
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["gpt.pt"]


def test_a_model_that_cannot_be_saved_where_asked_is_rescued_elsewhere(tmp_path, monkeypatch):
    model = GPT(GPTConfig(n_layer=1, n_head=2, n_embd=8, block_size=8))
    (tmp_path / "file").write_text("a file, not a folder")
    monkeypatch.setattr(train_gpt.tempfile, "gettempdir", lambda: str(tmp_path))
    with pytest.raises(OSError, match="the trained model is safe in .*rescued_gpt.pt"):
        train_gpt.save_or_rescue(tmp_path / "file" / "gpt.pt", model, step=1, settings={},
                                 metrics={})
    assert load_checkpoint(tmp_path / "rescued_gpt.pt")[1]["step"] == 1
