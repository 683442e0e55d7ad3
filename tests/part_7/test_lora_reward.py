"""A reward model that learns by LoRA: its witness is the same weights without the detours."""

import json

import pytest
import torch
import train_reward
from reward.checkpoint import load_reward, save_reward
from reward.data import encode_pairs
from reward.faults import Reply
from reward.model import score_rows
from reward.preferences import Pair
from run.distributed import Processes
from sft.chat_format import Message
from sft.lora import LoRALinear
from stop_and_go import goes_on_to_the_same_bytes
from train_reward import make_model, optimizer_of, parse_args, prepared, settled, train

PAIRS = [Pair((Message("user", f"What is {i}?"),), Reply(f"{i}"), Reply(f"{i}. Go away."))
         for i in range(200)]
FLAGS = ("--lora", "4", "--rows", "16", "--peak", "3e-3")


def is_detour(name: str) -> bool:
    return name.endswith((".a", ".b"))


def made(loaded, *flags):
    args = settled(parse_args([*FLAGS, *flags]))
    torch.manual_seed(0)
    return make_model(args, *loaded), args


def rows_of(tokenizer, side="chosen", first=0, last=200):
    encoded = encode_pairs(PAIRS, tokenizer, 128)[0]
    return [list(getattr(pair, side)) for pair in encoded[first:last]]


def test_it_begins_with_the_scores_of_training_all_weights_and_holds_them_once(tiny_base, runtime):
    from run.checkpoint import load_checkpoint
    model, _ = made(load_checkpoint(tiny_base)[:2])
    whole, _ = made(load_checkpoint(tiny_base)[:2], "--lora", "0")
    tokenizer = load_checkpoint(tiny_base)[1]
    rows = rows_of(tokenizer, last=20)
    assert torch.equal(*(score_rows(one, rows, tokenizer.pad, runtime) for one in (model, whole)))
    own = dict(model.body.named_parameters())
    for name, weight in model.witness.named_parameters():
        at, _, kind = name.rpartition(".")
        other = own.get(name, own.get(f"{at}.base.{kind}"))
        assert other.data_ptr() == weight.data_ptr() and not weight.requires_grad
    assert not any(isinstance(m, LoRALinear) for m in model.witness.modules())


@pytest.mark.parametrize("flags", [[], ["--no-witness"], ["--bidirectional"],
                                   ["--weights", "bfloat16"]])
def test_detours_and_what_is_new_learn_alone_and_are_folded_into_what_is_saved(
        loaded, runtime, tmp_path, flags):
    tokenizer = loaded[1]
    model, args = made(loaded, *flags)
    encoded, pairs, _ = encode_pairs(PAIRS, tokenizer, 128)
    was = {name: x.clone() for name, x in model.state_dict().items()}
    log = train(model, pairs[:160], encoded[:160], tokenizer, runtime, args)
    assert len(log) == 20
    moved = {name for name, x in model.state_dict().items() if not torch.equal(x, was[name])}
    new = {name for name in was if not name.startswith(("body.", "witness."))}
    assert moved == new | {name for name in was if is_detour(name)}
    sides = [score_rows(model, rows_of(tokenizer, side, 160), tokenizer.pad, runtime)
             for side in ("chosen", "rejected")]
    assert float((sides[0] > sides[1]).float().mean()) > 0.9
    now = {name: x.clone() for name, x in model.state_dict().items()}
    save_reward(tmp_path / "reward.pt", model, tokenizer, mean=0.0, std=1.0, settings={}, metrics={})
    assert all(torch.equal(x, now[name]) for name, x in model.state_dict().items()), \
        "saving touches neither the body nor its witness"
    plain = load_reward(tmp_path / "reward.pt", "")[0]
    assert {x.dtype for x in plain.state_dict().values()} == {torch.float32}
    assert not any(isinstance(m, LoRALinear) for m in plain.modules())
    for name, x in plain.state_dict().items():
        if name.startswith("witness."):
            assert torch.equal(x, was[name].float()), "the witness never learns"
    scores = score_rows(plain, rows_of(tokenizer, first=160), tokenizer.pad, runtime)
    near = 0.1 if "bfloat16" in flags else 1e-4
    torch.testing.assert_close(scores, sides[0], atol=near, rtol=0)


def test_no_detour_is_moved_by_muon(loaded, runtime):
    model, args = made(loaded)
    assert args.muon > 0
    kinds = {group.get("kind") for group in optimizer_of(model, runtime, args).param_groups}
    assert kinds == {None}


def test_a_killed_training_by_lora_goes_on_to_the_same_bytes(tiny_base, tmp_path):
    pairs = [{"prompt": f"What is {n} + 1?", "chosen": str(n + 1), "rejected": f"{n}, I think"}
             for n in range(14)]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, pairs)))
    goes_on_to_the_same_bytes(train_reward.main, [
        "--sft", tiny_base, "--data", tmp_path / "pairs.jsonl", "--rows", 4, "--amp", "float32",
        "--no-tensorboard", "--save-every", 2, "--lora", 2], tmp_path, "reward.pt")


@pytest.mark.parametrize("flags, message", [
    (["--lora", "-1"], "--lora -1"), (["--weights", "bfloat16", "--lora", "0"], "give --lora too"),
    (["--weights", "int8"], "--weights int8"), (["--start", "scratch"], "--start scratch")])
def test_settings_that_make_no_sense_are_refused(flags, message):
    with pytest.raises(ValueError, match=message):
        settled(parse_args([*FLAGS, *flags]))


def test_slices_and_detours_do_not_go_together(tmp_path):
    with pytest.raises(ValueError, match="--shard with --lora: .*use one of the two"):
        prepared(settled(parse_args([*FLAGS])), tmp_path, Processes(world=2, shards=True))
