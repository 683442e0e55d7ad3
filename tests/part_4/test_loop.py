"""4.2: one step, however it is cut into micro-batches, in whatever number format."""

import copy

import pytest
import torch
from gpt.model import GPT, GPTConfig
from run.loop import train_step
from run.optim import (
    load_optimizer_state,
    make_optimizer,
    model_state,
    optimizer_state,
    orthogonal,
)
from run.runtime import Runtime
from text.rows import IGNORED

CPU = torch.device("cpu")
FLOAT32 = Runtime(CPU, None, "", "")
CONFIG = GPTConfig(vocab_size=37, block_size=12, n_layer=2, n_head=2, n_kv_head=1, n_embd=16)


def batch(rows=8, seed=0):
    """Rows with very different numbers of labels: 1, 2, …, 8 of 12."""
    random = torch.Generator().manual_seed(seed)
    ids = torch.randint(37, (rows, 12), generator=random)
    targets = torch.randint(37, (rows, 12), generator=random)
    for row in range(rows):
        targets[row, row + 1:] = IGNORED
    return ids, targets


def fresh(seed=0):
    torch.manual_seed(seed)
    model = GPT(CONFIG)
    return model, make_optimizer(model, weight_decay=0.1, betas=(0.9, 0.95))


def take(model, optimizer, ids, targets, runtime=FLOAT32, scaler=None, rate=1e-2, **settings):
    return train_step(model, optimizer, ids, targets, runtime=runtime, rate=rate,
                      scaler=scaler or runtime.grad_scaler(), **settings)


@pytest.mark.parametrize("micro_rows", [1, 2, 3, 4])
def test_accumulated_pieces_with_unequal_labels_equal_the_whole_batch(micro_rows):
    """In float64, where nothing but the arithmetic is left."""
    ids, targets = batch()
    (model, optimizer), (twin, other) = fresh(), fresh()
    model.double(), twin.double()
    whole, pieces = (take(m, o, ids, targets, clip=1e9, micro_rows=n, rate=0.0)
                     for m, o, n in ((model, optimizer, None), (twin, other, micro_rows)))
    assert pieces.loss == pytest.approx(whole.loss, abs=1e-6)
    assert pieces.gradient_norm == pytest.approx(whole.gradient_norm, rel=1e-6)
    for name, moments in optimizer_state(model, optimizer).items():
        torch.testing.assert_close(optimizer_state(twin, other)[name]["exp_avg"],
                                   moments["exp_avg"], rtol=1e-6, atol=1e-9)


def test_one_step_with_accumulation_equals_the_whole_batch_to_1e_6_in_float32():
    ids, targets = batch()
    (model, optimizer), (twin, other) = fresh(), fresh()
    take(model, optimizer, ids, targets, rate=1e-3)
    take(twin, other, ids, targets, rate=1e-3, micro_rows=2)
    for one, two in zip(model.parameters(), twin.parameters()):
        torch.testing.assert_close(one, two, rtol=0, atol=2e-6)


def test_the_loss_is_the_mean_over_labels_not_over_micro_batches():
    ids, targets = batch()
    model, optimizer = fresh()
    logits, _ = model(ids)
    wanted = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(),
                                               ignore_index=IGNORED)
    report = take(model, optimizer, ids, targets, micro_rows=1)
    assert report.loss == pytest.approx(wanted.item(), abs=1e-6) and report.labels == 36


def test_a_micro_batch_without_labels_changes_nothing():
    ids, targets = batch(4)
    (model, optimizer), (twin, other) = fresh(), fresh()
    take(model, optimizer, ids, targets, micro_rows=2)
    empty = torch.full((2, 12), IGNORED)
    report = take(twin, other, torch.cat([ids, ids[:2]]), torch.cat([targets, empty]), micro_rows=2)
    assert report.loss == report.loss
    for one, two in zip(model.parameters(), twin.parameters()):
        assert torch.equal(one, two)


def test_the_gradient_norm_is_told_before_clipping_and_clipping_limits_it():
    ids, targets = batch()
    model, optimizer = fresh()
    norms = []
    step = optimizer.step
    optimizer.step = lambda *a, **k: (norms.append(torch.nn.utils.get_total_norm(
        [p.grad for p in model.parameters()])), step(*a, **k))[1]
    report = take(model, optimizer, ids, targets, clip=1e-3)
    assert report.gradient_norm > 0.1
    assert float(norms[0]) == pytest.approx(1e-3, rel=1e-3)


def test_no_gradient_is_left_for_the_next_step():
    ids, targets = batch()
    model, optimizer = fresh()
    take(model, optimizer, ids, targets)
    assert all(p.grad is None for p in model.parameters())


def test_every_parameter_gets_a_gradient():
    ids, targets = batch()
    model, optimizer = fresh()
    take(model, optimizer, ids, targets)
    without = [name for name, state in optimizer_state(model, optimizer).items()
               if not state["exp_avg"].abs().sum() > 0]
    assert without == [] and len(optimizer.state) == len(list(model.parameters()))


def test_the_rate_is_that_of_the_step():
    ids, targets = batch()
    (model, optimizer), (twin, other) = fresh(), fresh()
    take(model, optimizer, ids, targets, rate=0.0)
    assert all(torch.equal(one, two) for one, two in zip(model.parameters(), twin.parameters()))
    take(twin, other, ids, targets, rate=1e-2)
    moved = max((one - two).abs().max() for one, two in zip(model.parameters(), twin.parameters()))
    assert 0.009 < moved.item() < 0.012  # Adam's first step is the rate itself


@pytest.mark.parametrize("what", ["nan", "inf"])
def test_a_broken_loss_stops_before_anything_is_updated(what):
    ids, targets = batch()
    model, optimizer = fresh()
    with torch.no_grad():
        model.norm.weight.fill_(float(what))
    before = model_state(model)
    with pytest.raises(FloatingPointError, match="the loss is"):
        take(model, optimizer, ids, targets)
    assert all(torch.equal(before[name], value.cpu()) or name == "norm.weight"
               for name, value in model.state_dict().items())


def test_bfloat16_keeps_float32_weights_and_stays_close():
    ids, targets = batch()
    (model, optimizer), (twin, other) = fresh(), fresh()
    exact = take(model, optimizer, ids, targets)
    rough = take(twin, other, ids, targets, Runtime(CPU, torch.bfloat16, "", ""))
    assert all(p.dtype == torch.float32 for p in twin.parameters())
    assert rough.loss != exact.loss and rough.loss == pytest.approx(exact.loss, abs=0.02)


class Scaler(torch.amp.GradScaler):
    """fp16's scaler, made to work where it is tested: on the CPU."""

    def __init__(self, scale):
        super().__init__("cpu", init_scale=scale, growth_interval=2)


def test_the_scaler_changes_neither_the_norm_nor_the_step():
    """Clipping after unscaling: with the clip at 0.1 a scaled gradient would be cut to nothing."""
    ids, targets = batch()
    (model, optimizer), (twin, other) = fresh(), fresh()
    plain = take(model, optimizer, ids, targets, clip=0.1)
    scaled = take(twin, other, ids, targets, clip=0.1, scaler=Scaler(2.0**14))
    assert scaled.gradient_norm == pytest.approx(plain.gradient_norm, rel=1e-5)
    for one, two in zip(model.parameters(), twin.parameters()):
        torch.testing.assert_close(one, two, rtol=0, atol=2e-6)


def test_fp16_skips_a_step_that_overflowed_and_lowers_its_scale():
    ids, targets = batch()
    model, optimizer = fresh()
    scaler = Scaler(2.0**120)
    before = model_state(model)
    report = take(model, optimizer, ids, targets, Runtime(CPU, torch.float16, "", ""), scaler)
    assert report.skipped and scaler.get_scale() == 2.0**119
    assert all(torch.equal(before[n], v) for n, v in model.state_dict().items())


def test_only_matrices_decay():
    model, optimizer = fresh()
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    before = copy.deepcopy(model)
    for group in optimizer.param_groups:
        group["lr"] = 0.1
    optimizer.step()
    for old, new in zip(before.parameters(), model.parameters()):
        torch.testing.assert_close(new, old * (1 - 0.1 * 0.1) if old.dim() == 2 else old)


def test_the_optimizers_state_survives_by_name():
    ids, targets = batch()
    model, optimizer = fresh()
    take(model, optimizer, ids, targets)
    twin = copy.deepcopy(model)
    other = make_optimizer(twin, weight_decay=0.1, betas=(0.9, 0.95))
    load_optimizer_state(twin, other, optimizer_state(model, optimizer))
    for m, o in ((model, optimizer), (twin, other)):
        take(m, o, *batch(seed=1))
    assert all(torch.equal(one, two) for one, two in zip(model.parameters(), twin.parameters()))
    with pytest.raises(ValueError, match="another model"):
        load_optimizer_state(twin, other, {"nothing": {}})


def test_orthogonal_brings_every_singular_value_near_one_and_keeps_the_directions():
    torch.manual_seed(0)
    for shape in ((3, 8, 20), (2, 20, 8)):
        x = torch.randn(*shape, dtype=torch.float64) @ torch.diag(
            torch.logspace(0, -1, shape[2], dtype=torch.float64))
        y = orthogonal(x, torch.float64)
        values = torch.linalg.svdvals(y)
        assert 0.5 < float(values.min()) and float(values.max()) < 1.3
        u, _, vh = torch.linalg.svd(x, full_matrices=False)
        inside = u.mT @ y @ vh.mT  # diagonal, if the singular vectors are kept
        assert (inside - torch.diag_embed(torch.diagonal(inside, dim1=1, dim2=2))).abs().max() < 1e-9


def muon(model):
    """In float64: small singular values, made large, would be made of rounding."""
    return make_optimizer(model.double(), weight_decay=0.1, betas=(0.9, 0.95), muon=2.0,
                          dtype=torch.float64)


def test_muon_moves_each_part_of_a_matrix_by_a_step_of_its_own():
    """By hand: queries, keys, values of block 0 apart, the embedding left to AdamW."""
    model = fresh()[0]
    optimizer, before = muon(model), model_state(model)
    ids, targets = batch()
    model(ids, targets)[1].backward()
    gradient = model.blocks[0].attention.qkv.weight.grad.clone()  # (16 + 8 + 8, 16)
    model.zero_grad()
    take(model, optimizer, ids, targets, rate=0.01, clip=1e9)
    name = "blocks.0.attention.qkv.weight"
    wanted = before[name] * (1 - 0.02 * 0.1)
    gradient *= 0.05 + 0.95 * 0.05  # eq. 4.9 from an empty momentum
    for part in (slice(0, 16), slice(16, 24), slice(24, 32)):
        wanted[part] -= 0.02 * orthogonal(gradient[None, part], torch.float64)[0]
    torch.testing.assert_close(model.state_dict()[name], wanted, rtol=1e-3, atol=2e-5)
    moved = model.token_embedding.weight - before["token_embedding.weight"] * (1 - 0.01 * 0.1)
    assert 0.0099 < float(moved.detach().abs().max()) < 0.0101  # Adam's first step: the rate


def test_muon_scales_tall_matrices_by_the_root_of_their_shape():
    model = fresh()[0]
    optimizer, before = muon(model), model_state(model)
    take(model, optimizer, *batch(), rate=0.01)
    name = "blocks.0.mlp.gate_up.weight"  # two parts of (64, 16): a factor of 2
    change = (model.state_dict()[name] - before[name] * (1 - 0.02 * 0.1))[:64] / 0.02
    assert 1.3 < float(torch.linalg.svdvals(change).median()) < 2.5


def test_muons_state_survives_by_name():
    model = fresh()[0]
    optimizer = muon(model)
    take(model, optimizer, *batch())
    twin = copy.deepcopy(model)
    other = muon(twin)
    load_optimizer_state(twin, other, optimizer_state(model, optimizer))
    for m, o in ((model, optimizer), (twin, other)):
        take(m, o, *batch(seed=1))
    assert all(torch.equal(one, two) for one, two in zip(model.parameters(), twin.parameters()))
