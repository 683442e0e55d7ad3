"""The model with experts: which layers have them, the loss, copies of a dense model, checkpoints."""

import copy

import pytest
import torch
import torch.nn.functional as F
from gpt.model import GPT, GPTConfig
from moe.checkpoint import load_moe, save_moe
from moe.experts import Experts
from moe.hybrid import Blend, HybridGPT, expert_width, layer_kinds, upcycle
from moe.layer import MoE, MoEConfig
from moe.router import max_load
from run.optim import make_optimizer
from run.runtime import Runtime
from run.thrift import rounded_once
from text.tokenizer import Tokenizer

CONFIG = GPTConfig(vocab_size=40, block_size=16, n_layer=4, n_head=2, n_embd=32, n_hidden=48)


def make(seed: int = 0, config: GPTConfig = CONFIG, **settings) -> HybridGPT:
    torch.manual_seed(seed)
    return HybridGPT(config, MoEConfig(**{"n_expert": 4, **settings}))


def some_ids(rows: int = 3) -> torch.Tensor:
    return torch.randint(0, 40, (rows, 16), generator=torch.Generator().manual_seed(1))


def test_layers_by_name_and_by_letters():
    assert layer_kinds("every", 4) == "mmmm"
    assert layer_kinds("alternate", 5) == "dmdmd"
    assert layer_kinds("after_1", 4) == "dmmm" and layer_kinds("after_3", 4) == "dddm"
    assert layer_kinds("blend", 2) == "bb" and layer_kinds("dmbd", 4) == "dmbd"
    for wrong in ("dm", "dmx.", "after_9", "after_x", "sometimes"):
        with pytest.raises(ValueError, match="choose every, alternate"):
            layer_kinds(wrong, 4)


def test_the_named_layers_and_no_others_have_experts():
    model = make(layers="dmbd")
    found = [type(block.mlp) for block in model.blocks]
    assert found[1] is MoE and found[2] is Blend and MoE not in (found[0], found[3])
    assert len(model.moes) == 2


def test_active_products_equal_the_dense_models():
    """Hidden widths of the experts that one token uses add up to the dense width."""
    for settings in ({}, {"n_active": 3}, {"n_active": 2, "n_shared": 1}, {"n_active": 1}):
        moe = MoEConfig(n_expert=4, **settings)
        assert expert_width(CONFIG, moe) * (moe.n_active + moe.n_shared) == CONFIG.n_hidden
    model, dense = make(), GPT(CONFIG)
    router = 4 * 4 * 32
    assert model.count_active() == dense.count_parameters() + router
    idle = 4 * (4 - 2) * 3 * 32 * 24
    assert model.count_parameters() == model.count_active() + idle


def test_training_adds_the_routers_losses_once_and_evaluation_does_not():
    model, ids = make(balance_weight=0.5, z_weight=0.1), some_ids()
    targets = ids.roll(-1, 1)
    loss = model(ids, targets)[1]
    routers = sum(moe.loss for moe in model.moes)
    model.eval()
    logits, plain = model(ids, targets)
    torch.testing.assert_close(plain, F.cross_entropy(logits.flatten(0, 1), targets.flatten()))
    torch.testing.assert_close(loss, plain + routers)
    assert routers > 4 * 0.5 * 0.9
    only = model(ids, targets, loss_only=True)
    torch.testing.assert_close(only[1], plain)


def test_the_blend_starts_half_and_half_and_its_share_learns():
    model, ids = make(layers="blend"), some_ids()
    blend, x = model.blocks[0].mlp, torch.randn(2, 5, 32)
    torch.testing.assert_close(blend(x), (blend.dense(x) + blend.moe(x)) / 2)
    with torch.no_grad():
        blend.mix.fill_(-200.0)
    torch.testing.assert_close(blend(x), blend.dense(x))
    model(ids, ids.roll(-1, 1))[1].backward()
    assert all(block.mlp.mix.grad is not None for block in model.blocks)
    assert model.blocks[1].mlp.mix.grad.abs() > 0


@pytest.mark.parametrize("layers", ["every", "alternate", "after_2", "blend", "dmbd"])
def test_experts_copied_from_a_dense_model_give_its_logits(layers):
    torch.manual_seed(2)
    dense = GPT(CONFIG).eval()
    model = upcycle(dense, MoEConfig(n_expert=4, layers=layers)).eval()
    torch.testing.assert_close(model(some_ids())[0], dense(some_ids())[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("settings", [{"n_active": 1}, {"renormalize": False}, {"n_shared": 1},
                                      {"capacity": 1.0}, {"n_hidden": 7}, {"scale": 2.0}])
def test_upcycling_refuses_settings_that_would_change_the_logits(settings):
    with pytest.raises(ValueError, match="upcycling"):
        upcycle(GPT(CONFIG), MoEConfig(n_expert=4, **settings))


def test_stacked_experts_start_like_the_dense_matrices():
    config = GPTConfig(vocab_size=40, block_size=16, n_layer=4, n_head=2, n_embd=128)
    model = make(config=config)
    for module in model.modules():
        if isinstance(module, Experts):
            assert module.gate_up.std().item() == pytest.approx(0.02, rel=0.05)
            assert module.down.std().item() == pytest.approx(0.02 / 8 ** 0.5, rel=0.05)


def test_no_future_token_changes_past_logits():
    model, ids = make().eval(), some_ids(1)
    changed = ids.clone()
    changed[0, 9] = (changed[0, 9] + 1) % 40
    torch.testing.assert_close(model(ids)[0][:, :9], model(changed)[0][:, :9])


def test_cached_decoding_equals_the_whole_pass():
    model, ids = make().eval(), some_ids(2)
    with torch.no_grad():
        whole, _ = model(ids)
        cache = model.make_cache(2)
        parts = [model(ids[:, :7], cache=cache)[0]]
        parts += [model(ids[:, t:t + 1], cache=cache)[0] for t in range(7, 16)]
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("settings", [{}, {"balance": "bias", "gate": "sigmoid"},
                                      {"layers": "blend"}, {"n_shared": 1, "capacity": 1.25}])
def test_the_model_memorises_a_batch_and_every_parameter_learns(settings):
    model, ids = make(**settings), some_ids(4)
    targets = ids.roll(-1, 1)
    optimizer = make_optimizer(model, weight_decay=0.0, betas=(0.9, 0.95), rate=1e-2)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    for _ in range(60):
        loss = model(ids, targets)[1]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        model.update_biases()
    assert all(not torch.equal(before[name], p) for name, p in model.named_parameters())
    model.eval()
    assert model(ids, targets)[1] < 0.3
    moved = [moe.router.bias.abs().max() > 0 for moe in model.moes]
    assert all(moved) if settings.get("balance") == "bias" else not any(moved)


@pytest.mark.parametrize("seed", [0, 1])
def test_balancing_evens_out_routers_that_prefer_one_expert(seed):
    """From a router that sends nearly all to one expert: balance repairs it, its absence does not.

    The lean lies in what all embeddings have in common. It must be large beside what the optimizer
    moves them by: with embeddings of 0.02 the lean is unlearnt by the way, with or without balance.
    """
    config = GPTConfig(vocab_size=40, block_size=16, n_layer=2, n_head=2, n_embd=32, n_hidden=48,
                       embedding_std=0.08)
    ids = torch.randint(0, 40, (16, 16), generator=torch.Generator().manual_seed(4))
    first, last = {}, {}
    for balance in ("loss", "bias", "none"):
        model = make(seed, config, balance=balance, n_active=1, layers="dm", balance_weight=0.05,
                     bias_rate=0.02)
        with torch.no_grad():
            direction = torch.randn(32)
            model.token_embedding.weight += 0.08 * direction  # all tokens lean to one side
            model.moes[0].router.weight[1] += 0.6 * direction / direction.norm()
        optimizer = make_optimizer(model, weight_decay=0.0, betas=(0.9, 0.95), rate=3e-3)
        for _ in range(60):
            loss = model(ids, ids.roll(-1, 1))[1]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            model.update_biases()
            first.setdefault(balance, max_load(model.loads()[0]))
        last[balance] = max_load(model.loads()[0])
    assert min(first.values()) > 3.5, first
    assert last["none"] > 2.5 and last["loss"] < 1.5 and last["bias"] < 1.5, last


def test_a_checkpoint_gives_the_same_logits_and_the_same_biases(tmp_path):
    model = make(layers="dmbm", balance="bias", n_shared=1)
    with torch.no_grad():
        model.moes[0].router.bias.copy_(torch.tensor([0.1, -0.2, 0.3, 0.0]))
    tokenizer = Tokenizer.train("a rose is a rose", 262)
    save_moe(tmp_path / "moe.pt", model, tokenizer, step=3, settings={"a": 1}, metrics={"b": 2.0})
    again, _, content = load_moe(tmp_path / "moe.pt")
    assert torch.equal(again(some_ids())[0], model.eval()(some_ids())[0])
    assert again.moe_config == model.moe_config and content["metrics"] == {"b": 2.0}
    assert again.moes[0].router.bias.tolist() == pytest.approx([0.1, -0.2, 0.3, 0.0])


def test_a_missing_cut_or_foreign_checkpoint_is_refused_with_the_way_out(tmp_path):
    with pytest.raises(FileNotFoundError, match="train_moe.py"):
        load_moe(tmp_path / "none.pt")
    model = make()
    save_moe(tmp_path / "moe.pt", model, Tokenizer.train("a rose", 262), step=0, settings={},
             metrics={})
    whole = (tmp_path / "moe.pt").read_bytes()
    (tmp_path / "cut.pt").write_bytes(whole[:len(whole) // 2])
    with pytest.raises(ValueError, match="cut short"):
        load_moe(tmp_path / "cut.pt")
    torch.save({"kind": "gpt of part 3", "format": 4}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match="gpt of part 3"):
        load_moe(tmp_path / "other.pt")
    dense = GPT(GPTConfig(vocab_size=262, block_size=16, n_layer=1, n_head=2, n_embd=8))
    save_moe(tmp_path / "dense.pt", dense, Tokenizer.train("a rose", 262), step=0, settings={},
             metrics={})
    with pytest.raises(ValueError, match="dense.pt: a model without experts"):
        load_moe(tmp_path / "dense.pt")


def test_weights_rounded_once_leave_the_routers_choice_as_it_was():
    """Routers score in float32 (lesson 5.3), also where all else is read in bfloat16."""
    model, ids = make(n_expert=8, n_active=2, balance="bias"), some_ids()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    runtime, found = Runtime(torch.device("cpu"), torch.bfloat16, "", ""), []
    for each in (model.eval(), rounded_once(copy.deepcopy(model), runtime)):
        with torch.inference_mode(), runtime.autocast():
            found.append(each(ids)[0])
    experts = each.moes[0].experts
    assert each.head.weight.dtype == experts.gate_up.dtype == experts.down.dtype == torch.bfloat16
    assert each.moes[0].router.weight.dtype == torch.float32
    assert torch.equal(*found)
