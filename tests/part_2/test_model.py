"""The model against NumPy, against its own promises, and against nonsense."""

import math

import numpy as np
import pytest
import torch
from model import GPT, GPTConfig, by_products, causal_attention

SMALL = {"vocab_size": 11, "block_size": 8, "n_layer": 2, "n_head": 2, "n_embd": 12}


def small(**changes) -> GPT:
    torch.manual_seed(0)
    model = GPT(GPTConfig(**{**SMALL, **changes}))
    with torch.no_grad():
        for parameter in model.parameters():  # away from the start: scales 1, biases 0 hide bugs
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model.eval()


@pytest.fixture(params=["products", "fused"])
def kernel(request, monkeypatch) -> str:
    """Both ways that attention can go, whatever the machine and the number format would choose."""
    monkeypatch.setattr("model.by_products", lambda x: request.param == "products")
    return request.param


def numpy_logits(model: GPT, ids: np.ndarray) -> np.ndarray:
    """The whole model for one row of ids, in float64, with loops where loops are clear."""
    c = model.config
    w = {name: p.detach().double().numpy() for name, p in model.named_parameters()}

    def norm(x, name):
        centred = x - x.mean(-1, keepdims=True)
        y = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + c.norm_eps)
        return y * w[name + ".weight"] + w.get(name + ".bias", 0)

    def linear(x, name):
        return x @ w[name + ".weight"].T + w.get(name + ".bias", 0)

    def gelu(x):
        if c.gelu == "tanh":
            return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
        return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))

    T, C, D = len(ids), c.n_embd, c.n_embd // c.n_head
    x = w["token_embedding.weight"][ids] + w["position_embedding.weight"][:T]
    for i in range(c.n_layer):
        block = f"blocks.{i}."
        qkv = linear(norm(x, block + "norm_1"), block + "attention.qkv")
        heads = []
        for h in range(c.n_head):
            q, k, v = (qkv[:, j * C + h * D:j * C + (h + 1) * D] for j in range(3))
            out = np.zeros((T, D))
            for t in range(T):
                scores = k[:t + 1] @ q[t] / math.sqrt(D)
                weights = np.exp(scores - scores.max())
                out[t] = weights / weights.sum() @ v[:t + 1]
            heads.append(out)
        x = x + linear(np.concatenate(heads, axis=1), block + "attention.project")
        x = x + linear(gelu(linear(norm(x, block + "norm_2"), block + "mlp.widen")),
                       block + "mlp.project")
    head = w["token_embedding.weight"] if c.tied else w["head.weight"]
    return norm(x, "norm") @ head.T


@pytest.mark.parametrize("changes", [{}, {"bias": True, "gelu": "tanh"}, {"tied": False},
                                     {"n_head": 3, "norm_eps": 0.5}])
def test_the_model_computes_what_numpy_computes(changes, kernel):
    model = small(**changes)
    ids = torch.tensor([[3, 1, 4, 1, 5, 9, 2, 6]])
    logits, _ = model(ids)
    expected = numpy_logits(model, ids[0].numpy())
    np.testing.assert_allclose(logits[0].detach().numpy(), expected, rtol=1e-4, atol=1e-5)


def test_future_tokens_do_not_change_past_logits(kernel):
    model = small()
    ids = torch.randint(11, (1, 8))
    before = model(ids)[0]
    for t in range(1, 8):
        changed = ids.clone()
        changed[0, t] = (changed[0, t] + 1) % 11
        after = model(changed)[0]
        assert torch.equal(before[:, :t], after[:, :t]), f"byte {t} reaches back"
        assert not torch.allclose(before[:, t], after[:, t])


def test_rows_of_a_batch_do_not_see_each_other():
    model = small()
    ids = torch.randint(11, (4, 8))
    together = model(ids)[0]
    alone = torch.cat([model(row[None])[0] for row in ids])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6)


def test_attention_by_products_equals_the_fused_kernel_and_so_do_its_gradients():
    q, k, v = (torch.randn(6, 8, 4, requires_grad=True) for _ in range(3))
    ours = causal_attention(q, k, v)
    fused = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
    torch.testing.assert_close(ours, fused)
    for a, b in zip(torch.autograd.grad(ours.square().sum(), (q, k, v)),
                    torch.autograd.grad(fused.square().sum(), (q, k, v))):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_both_kernels_give_the_model_the_same_gradients(monkeypatch):
    gradients, ids = [], torch.randint(11, (2, 3, 8))
    for choice in (True, False):
        monkeypatch.setattr("model.by_products", lambda x, choice=choice: choice)
        model = small()
        model(*ids)[1].backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    for one, other in zip(*gradients):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_plain_products_are_for_bfloat16_on_a_cpu():
    assert by_products(torch.zeros(1, dtype=torch.bfloat16))
    assert not by_products(torch.zeros(1))
    assert not by_products(torch.zeros(1, dtype=torch.bfloat16, device="meta"))


def test_loss_is_the_mean_over_counted_labels_by_hand():
    model = small()
    ids, targets = torch.randint(11, (2, 8)), torch.randint(11, (2, 8))
    targets[0, :5] = -100
    logits, loss = model(ids, targets)
    z = logits.detach().double().numpy()
    p = np.exp(z) / np.exp(z).sum(-1, keepdims=True)
    losses = [-math.log(p[b, t, targets[b, t]]) for b in range(2) for t in range(8)
              if targets[b, t] != -100]
    assert len(losses) == 11
    assert loss.item() == pytest.approx(sum(losses) / 11, rel=1e-5)


def test_a_new_model_guesses_evenly():
    model = GPT(GPTConfig())
    loss = model(torch.randint(256, (4, 64)), torch.randint(256, (4, 64)))[1]
    assert abs(loss.item() - math.log(256)) < 0.3


def test_every_parameter_gets_a_gradient():
    for tied in (True, False):
        model = small(tied=tied, bias=True)
        model(torch.randint(11, (8, 8)), torch.randint(11, (8, 8)))[1].backward()
        without = [name for name, p in model.named_parameters()
                   if p.grad is None or not p.grad.abs().sum() > 0]
        assert without == []


def test_tied_embeddings_are_one_matrix_and_untied_two():
    tied, untied = small(), small(tied=False)
    assert tied.head.weight is tied.token_embedding.weight
    assert untied.head.weight is not untied.token_embedding.weight
    assert untied.count_parameters() - tied.count_parameters() == 11 * 12


def test_parameter_count_by_hand():
    C, V, T, L = 12, 11, 8, 2
    assert small().count_parameters() == V * C + T * C + L * (12 * C * C + 2 * C) + C
    assert small(bias=True).count_parameters() == (V * C + T * C + L * (12 * C * C + 13 * C)
                                                   + 2 * C)


def test_residual_projections_start_smaller():
    model = GPT(GPTConfig(n_layer=8))
    ordinary = model.blocks[0].mlp.widen.weight.std().item()
    for projection in (model.blocks[3].mlp.project, model.blocks[3].attention.project):
        assert ordinary / projection.weight.std().item() == pytest.approx(4, rel=0.05)  # sqrt(16)


def test_dropout_acts_in_training_and_not_in_evaluation(kernel):
    model = small(dropout=0.5)
    ids = torch.randint(11, (1, 8))
    assert torch.equal(model(ids)[0], model(ids)[0])
    model.train()
    assert not torch.equal(model(ids)[0], model(ids)[0])
    for name in ("dropout", "blocks.0.dropout"):  # the stream alone; then the attention alone
        model.get_submodule(name).p = 0.0
    model.blocks[1].dropout.p = 0.0
    assert not torch.equal(model(ids)[0], model(ids)[0]), "attention weights are not dropped"


def test_decay_pulls_matrices_only_and_each_once():
    model = small(bias=True)
    decayed, free = model.parameter_groups(0.1)
    assert decayed["weight_decay"] == 0.1 and free["weight_decay"] == 0.0
    assert {p.dim() for p in decayed["params"]} == {2} and {p.dim() for p in free["params"]} == {1}
    ids = [id(p) for group in (decayed, free) for p in group["params"]]
    assert len(ids) == len(set(ids)) == len(list(model.parameters()))


def test_one_batch_can_be_memorised():
    torch.manual_seed(0)
    model = GPT(GPTConfig(**{**SMALL, "n_embd": 32}))
    ids, targets = torch.randint(11, (2, 4, 8))
    optimizer = torch.optim.AdamW(model.parameter_groups(0.0), lr=1e-2)
    for _ in range(200):
        optimizer.zero_grad()
        loss = model(ids, targets)[1]
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1


def test_bfloat16_stays_near_float32():
    model = small()
    ids, targets = torch.randint(11, (2, 4, 8))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits, loss = model(ids, targets)
    exact, exact_loss = model(ids, targets)
    assert logits.dtype == torch.bfloat16 and loss.dtype == torch.float32
    assert (logits.float() - exact).abs().max() < 0.1
    assert loss.item() == pytest.approx(exact_loss.item(), abs=0.02)


@pytest.mark.parametrize("changes, says", [
    ({"n_head": 5}, "n_embd=12 must be a multiple of n_head=5"),
    ({"n_layer": 0}, "n_layer=0 must be at least 1"),
    ({"block_size": -3}, "block_size=-3 must be at least 1"),
    ({"dropout": 1.0}, "dropout=1.0 must be at least 0 and below 1"),
    ({"gelu": "relu"}, "gelu='relu': choose exact or tanh"),
    ({"norm_eps": 0.0}, "norm_eps=0.0 must be above 0")])
def test_settings_that_do_not_fit_are_refused_with_their_values(changes, says):
    with pytest.raises(ValueError) as error:
        GPTConfig(**{**SMALL, **changes})
    assert says in str(error.value)


def test_input_that_does_not_fit_is_refused_with_its_values():
    model = small()
    with pytest.raises(ValueError, match="9 tokens do not fit in block_size=8"):
        model(torch.zeros(1, 9, dtype=torch.int64))
    with pytest.raises(ValueError, match="the token 11; the vocabulary has tokens 0 … 10"):
        model(torch.tensor([[11]]))
    with pytest.raises(ValueError, match="not empty"):
        model(torch.zeros(1, 0, dtype=torch.int64))
