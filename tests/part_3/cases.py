"""Tiny worked cases of part 3 for the practice; tests/worked_cases.py says what a case is."""

import torch
from worked_cases import case


@case("3.1", "x = (3, 4), weight (1, 1), eps 0")
def three_four(load):
    return load("rmsnorm").rms_norm(torch.tensor([3.0, 4.0]), torch.ones(2), 0.0)


@case("3.1", "two tokens, (3, 4) and (0, 10), weight (1, 2), eps 0")
def two_tokens(load):
    x = torch.tensor([[3.0, 4.0], [0.0, 10.0]])
    return load("rmsnorm").rms_norm(x, torch.tensor([1.0, 2.0]), 0.0)


@case("3.1", "a vector of zeros, eps 1e-5")
def zeros(load):
    return load("rmsnorm").rms_norm(torch.zeros(2), torch.ones(2), 1e-5)


@case("3.1", "a small vector, (0.001, -0.001), eps 1e-5: eps counts")
def small_vector(load):
    return load("rmsnorm").rms_norm(torch.tensor([0.001, -0.001]), torch.ones(2), 1e-5)


@case("3.1", "x = (300, 400) in float16: the squares do not fit")
def half_precision(load):
    return load("rmsnorm").rms_norm(torch.tensor([300.0, 400.0]).half(), torch.ones(2).half(), 1e-5)


@case("3.1", "the module RMSNorm(2) with weight (1, 2), x = (3, 4)")
def the_module(load):
    norm = load("rmsnorm").RMSNorm(2)
    norm.weight.data = torch.tensor([1.0, 2.0])
    return norm(torch.tensor([[3.0, 4.0]]))


@case("3.2", "frequencies of a head of width 4, theta 10000")
def frequencies(load):
    return load("rope").rope_frequencies(4)


@case("3.2", "frequencies of a head of width 4, theta 100")
def other_base(load):
    return load("rope").rope_frequencies(4, 100.0)


@case("3.2", "width 6, scaling linear by 2")
def linear(load):
    return load("rope").rope_frequencies(6, scaling="linear", factor=2.0)


@case("3.2", "width 6, scaling ntk by 2")
def ntk(load):
    return load("rope").rope_frequencies(6, scaling="ntk", factor=2.0)


@case("3.2", "width 8, scaling llama3 by 8, trained at 64")
def llama3(load):
    return load("rope").rope_frequencies(8, scaling="llama3", factor=8.0, trained=64)


@case("3.2", "a head of width 3: refused")
def odd_width(load):
    return load("rope").rope_frequencies(3)


@case("3.2", "cosines and sines at the positions 0, 1 and 100000, frequencies 1 and 0.01")
def angles(load):
    rope = load("rope")
    table = rope.RotaryTable(torch.tensor([1.0, 0.01], dtype=torch.float64), 8)
    return table.compute(torch.tensor([0, 1, 100_000]))


@case("3.2", "x = (1, 0) turned by the angle 1")
def one_turn(load):
    angle = torch.tensor([[[[1.0]]]])
    return load("rope").apply_rope(torch.tensor([[[[1.0, 0.0]]]]), angle.cos(), angle.sin())


@case("3.2", "x = (1, 2, 3, 4) turned by the angles 1 and 0.01")
def two_pairs(load):
    angle = torch.tensor([[[[1.0, 0.01]]]])
    x = torch.tensor([[[[1.0, 2.0, 3.0, 4.0]]]])
    return load("rope").apply_rope(x, angle.cos(), angle.sin())


@case("3.2", "the permutation for head_dim 6")
def permutation(load):
    return load("rope").interleaved_to_halves(6)


@case("3.3", "hidden widths for 128, 512 and 96")
def widths(load):
    return [load("swiglu").hidden_width(n) for n in (128, 512, 96)]


@case("3.3", "hidden width for 12, to a multiple of 4")
def other_multiple(load):
    return load("swiglu").hidden_width(12, 4)


@case("3.3", "C = 2, F = 2, gate rows (1, 0) and (0, 1), up rows (2, 0) and (0, 3), x = (1, -1)")
def one_token(load):
    mlp = load("swiglu").SwiGLU(2, 2)
    mlp.gate_up.weight.data = torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 0.0], [0.0, 3.0]])
    mlp.project.weight.data = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    return mlp(torch.tensor([[[1.0, -1.0]]]))


@case("3.3", "the same with three tokens and W_down = ((1, 2), (3, 4))")
def three_tokens(load):
    mlp = load("swiglu").SwiGLU(2, 2)
    mlp.gate_up.weight.data = torch.tensor([[1.0, 0.5], [0.2, 1.0], [2.0, 0.1], [0.4, 3.0]])
    mlp.project.weight.data = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    return mlp(torch.tensor([[[1.0, -1.0], [0.5, 2.0], [-2.0, 0.3]]]))


@case("3.2", "x = (1, 2, 3, 4) turned in the interleaved layout")
def interleaved(load):
    angle = torch.tensor([[[[1.0, 0.01]]]])
    x = torch.tensor([[[[1.0, 2.0, 3.0, 4.0]]]])
    return load("rope").apply_rope_interleaved(x, angle.cos(), angle.sin())
