"""4.6: the table of memory agrees with bytes that are counted: of weights, moments, what is kept, caches."""

import contextlib

import pytest
import torch
from base.settings import PRESETS
from gpt import layers
from gpt.model import GPT, GPTConfig
from show_memory import STAGES, cache_bytes, kept_bytes, main, most, needs, parameters_of
from torch.nn.functional import scaled_dot_product_attention

SIZES = [{}, {"n_layer": 3, "qk_norm": True},
         {"n_head": 8, "n_kv_head": 2, "head_dim": 8, "n_hidden": 96}]


def config(**more) -> GPTConfig:
    return GPTConfig(**{"vocab_size": 300, "block_size": 96, "n_layer": 2, "n_head": 4, "n_embd": 128,
                        **more})


@pytest.fixture(autouse=True)
def fused(monkeypatch):
    """Attention as on a GPU: on a CPU bfloat16 goes through plain products."""
    monkeypatch.setattr(layers, "attend", lambda q, k, v, plan, *_, **__: scaled_dot_product_attention(
        q, k, v, plan.is_visible, is_causal=plan.is_causal, enable_gqa=q.size(1) != k.size(1)))


def one_step(model: GPT, rows: int, length: int, amp: str = "float32", masks: bool = False) -> int:
    """Bytes that a forward pass keeps, weights left out; their gradients are there afterwards."""
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    ids, kept = torch.randint(0, 300, (rows, length + 1)), {}

    def keep(x):  # the storage is held, so that its place is not taken by another
        kept[x.untyped_storage().data_ptr()] = x.untyped_storage()
        return x
    rounded = torch.autocast("cpu", torch.bfloat16) if amp != "float32" else contextlib.nullcontext()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x), rounded:
        _, loss = model.train()(ids[:, :-1], ids[:, 1:].contiguous(), loss_only=True,
                                segments=torch.ones(rows, length).cumsum(1) // 9 if masks else None)
    loss.backward()
    return sum(storage.nbytes() for place, storage in kept.items() if place not in weights)


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("amp", ["float32", "bfloat16"])
def test_what_is_kept_is_what_autograd_keeps(sizes, amp):
    for rows, length, masks in ((2, 96, False), (5, 64, True)):
        found = one_step(GPT(config(**sizes)), rows, length, amp, masks)
        computed = kept_bytes(config(**sizes), rows, length, amp, masks=masks)
        assert computed == pytest.approx(found, rel=0.01)


def test_recomputing_keeps_the_blocks_inputs_and_one_block():
    one, many = (GPT(config(n_layer=n)) for n in (1, 6))
    whole = one_step(one, 4, 96)
    many.recompute = one.recompute = True
    of_the_block = whole - one_step(one, 4, 96) + 4 * 96 * 4 * 128  # its input is in both
    wanted = kept_bytes(many.config, 4, 96, recompute=True)
    assert wanted == pytest.approx(one_step(many, 4, 96) + of_the_block, rel=0.01)
    assert wanted < 0.5 * kept_bytes(many.config, 4, 96)


def test_weights_gradients_and_moments_are_four_copies_of_float32():
    model = GPT(config())
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    one_step(model, 1, 8, "bfloat16")
    optimizer.step()
    found = needs(model.config, "pretraining", rows=1, length=8, amp="bfloat16")

    def size(tensors) -> int:
        return sum(x.numel() * x.element_size() for x in tensors if x.numel() > 1)
    assert found["weights"] == size(model.parameters())
    assert found["gradients"] == size(p.grad for p in model.parameters())
    assert found["optimizer"] == size(x for s in optimizer.state.values() for x in s.values())
    assert parameters_of(model.config)[0] == model.count_parameters()


@pytest.mark.parametrize("amp, kind", [("float32", None), ("bfloat16", torch.bfloat16)])
def test_a_cache_is_as_large_as_computed(amp, kind):
    cache = GPT(config(n_kv_head=2)).make_cache(3, 40, dtype=kind or torch.float32)
    held = sum(x.numel() * x.element_size() for x in (*cache.keys, *cache.values))
    assert cache_bytes(config(n_kv_head=2), 3, 40, amp) == held


def test_the_stages_hold_what_their_trainings_make(modules_of):
    """Copies that are only read. PPO has three: the reference, the reward model's body, its witness."""
    m = modules_of("part_8", "gpt.model", "rl.policy", judge="reward.model")
    body = m.model.GPT(m.model.GPTConfig(vocab_size=60, block_size=32, n_layer=1, n_head=2, n_embd=16))
    judge = m.judge.RewardModel(body, reply_token=5)
    copies = [m.policy.frozen_copy(body), *judge.bodies]
    assert [one.count_parameters() for one in copies] == [body.count_parameters()] * 3
    assert STAGES["PPO"].frozen == len(copies) and STAGES["reward model"].frozen == len(judge.bodies) - 1
    whole = needs(config(), "PPO", rows=1, length=8)
    assert whole["frozen"] == 3 * whole["weights"] and whole["cache"] > 0


def test_slices_share_what_is_held_and_a_writer_holds_the_whole():
    one, four = (needs(config(), "PPO", rows=2, length=64, processes=n) for n in (1, 4))
    for name in ("weights", "gradients", "optimizer", "frozen"):
        assert four[name] == one[name] // 4
    assert four["kept"] == one["kept"]
    assert four["cache"] == one["cache"] // 4 + one["weights"]
    assert most(one) == sum(one.values()) - min(one["cache"], one["gradients"] + one["kept"])


def test_the_table_is_of_the_asked_size_and_has_all_stages(capsys):
    main(["--size", "10m", "--amp", "float32", "--rows", "3", "--replies", "7", "--processes", "2",
          "--recompute"])
    told = capsys.readouterr().out
    settings = PRESETS["10m"]
    found = needs(settings.model_config(settings.vocab_size), "GRPO", rows=3, length=settings.context,
                  processes=2, replies=7, recompute=True)
    line = next(line for line in told.splitlines() if line.startswith("GRPO"))
    assert line.split()[1:] == [f"{x / 1e9:.2f}" for x in (*found.values(), most(found))]
    assert all(f"\n{stage} " in told for stage in STAGES) and "recomputed" in told
    with pytest.raises(ValueError, match="--replies 0: must be at least 1"):
        main(["--replies", "0"])
