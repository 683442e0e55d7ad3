"""4.2: recomputing, compiling and rounding once change what a step costs, and not what comes out."""

import copy
import sys
from pathlib import Path

import pytest
import torch
import train
from gpt.model import GPT, GPTConfig
from run import thrift
from run.runtime import Runtime
from run.thrift import check_compiler, rounded_once, spend_less

sys.path.insert(0, str(Path(__file__).parent))
from runs import arguments, losses

ROWS = torch.arange(66).view(2, 33) * 7 % 60


@pytest.fixture
def model():
    torch.manual_seed(1)
    return GPT(GPTConfig(vocab_size=60, block_size=64, n_layer=2, n_head=2, n_embd=16, dropout=0.3))


@pytest.fixture
def compiler(monkeypatch):
    """A compiler that gives a function back as it is -> [what was compiled], [calls of that]."""
    compiled, calls = [], []

    def compile(function):
        compiled.append(function)
        return lambda *args: calls.append(args) or function(*args)
    monkeypatch.setattr(torch, "compile", compile)
    return compiled, calls


def gradients(model) -> list[torch.Tensor]:
    model.zero_grad()
    torch.manual_seed(3)
    _, loss = model.train()(ROWS[:, :-1], ROWS[:, 1:].contiguous(), loss_only=True)
    loss.backward()
    return [parameter.grad.clone() for parameter in model.parameters()]


def test_recomputing_draws_the_same_dropout_and_gives_the_same_gradients_to_the_bit(model):
    runs, found = [], []
    model.blocks[1].register_forward_pre_hook(lambda *_: runs.append(1))
    for recompute in (False, True):
        found.append(gradients(spend_less(model, recompute, False)))
    assert len(runs) == 3, "once without, and twice with it"
    assert all(torch.equal(plain, again) for plain, again in zip(*found))


def test_recomputing_keeps_less_for_the_way_back(model):
    """Tensors that autograd keeps, as they are counted in one place: saved once, however often used."""
    kept = []
    for recompute in (False, True):
        seen = {}
        spend_less(model, recompute, False)
        with torch.autograd.graph.saved_tensors_hooks(
                lambda x: seen.setdefault(x.untyped_storage().data_ptr(), x) is x and x, lambda x: x):
            model.train()(ROWS[:, :-1], ROWS[:, 1:].contiguous(), loss_only=True)
        kept.append(sum(x.untyped_storage().nbytes() for x in seen.values()))
    assert kept[1] < kept[0] / 2


def test_all_blocks_share_what_is_compiled_and_learn_the_same(model, compiler):
    compiled, calls = compiler
    plain = gradients(model)
    again = gradients(spend_less(model, False, True))
    assert len(compiled) == 1 and len(calls) == len(model.blocks)
    assert all(torch.equal(one, other) for one, other in zip(plain, again))


def test_a_copy_of_a_compiled_model_runs_its_own_weights(model, compiler):
    spend_less(model.eval(), False, True)
    before, other = model(ROWS)[0], copy.deepcopy(model)
    with torch.no_grad():
        model.blocks[0].mlp.project.weight.mul_(3)
    assert torch.equal(other(ROWS)[0], before) and not torch.equal(model(ROWS)[0], before)
    assert set(other.state_dict()) == set(model.state_dict())
    assert "blocks.0.mlp.project.weight" in other.state_dict()


def test_decoding_with_a_cache_is_not_compiled(model, compiler):
    _, calls = compiler
    spend_less(model.eval(), False, True)
    with torch.no_grad():
        model(ROWS, cache=model.make_cache(2))
    assert not calls


def test_without_a_compiler_it_is_refused_with_the_way_out(model, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(ValueError, match="--compile: .* no-such-compiler is not there; .* CXX"):
        spend_less(model, False, True)
    monkeypatch.setattr(thrift, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="--compile: .* Triton"):
        check_compiler(torch.device("cuda"))


def test_the_training_of_the_base_recomputes_and_compiles_when_asked(compiler, watch, tmp_path):
    from gpt import model as module
    again = watch(module, "checkpoint")
    for name, flags in (("plain", ()), ("thrifty", ("--recompute", "--compile"))):
        train.main(arguments(tmp_path / name, "--steps", 3, *flags))
        assert bool(again) == bool(flags) == bool(compiler[1])
    assert losses(tmp_path / "plain") == losses(tmp_path / "thrifty")


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("odd", [{}, {"qkv_bias": True, "qk_norm": True, "tied": False}])
def test_weights_rounded_once_give_the_logits_of_autocast_to_the_bit(kind, odd):
    torch.manual_seed(2)
    model = GPT(GPTConfig(vocab_size=60, block_size=64, n_layer=2, n_head=2, n_embd=16, **odd)).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    runtime, found = Runtime(torch.device("cpu"), kind, "", ""), []
    for each in (model, rounded_once(copy.deepcopy(model), runtime)):
        with torch.inference_mode(), runtime.autocast():
            cache = each.make_cache(2)
            steps = [each(ids, cache=cache)[0] for ids in ROWS[:, :12].split((9, 1, 2), dim=1)]
            loss = each(ROWS[:, :-1], ROWS[:, 1:].contiguous(), loss_only=True)[1]
        found.append([*steps, loss])
    assert each.blocks[0].mlp.project.weight.dtype == each.token_embedding.weight.dtype == kind
    assert model.blocks[0].mlp.project.weight.dtype == torch.float32
    assert (each.head.weight is each.token_embedding.weight) == each.config.tied
    assert all(torch.equal(one, other) for one, other in zip(*found))


def test_nothing_is_rounded_in_float32(model):
    before = copy.deepcopy(model.state_dict())
    rounded_once(model, Runtime(torch.device("cpu"), None, "", ""))
    assert all(torch.equal(value, before[name]) and value.dtype == before[name].dtype
               for name, value in model.state_dict().items())
