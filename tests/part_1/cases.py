"""Tiny worked cases of part 1 for the practice; tests/worked_cases.py says what a case is."""

import torch
from worked_cases import case, filled, wave


@case("1.1", "the table of 3 positions of width 2")
def three_rows(load):
    return load("positions").sinusoidal_table(3, 2)


@case("1.1", "the row of position 3 of a table of width 6")
def row_three(load):
    return load("positions").sinusoidal_table(4, 6)[3]


@case("1.1", "the row of position 0 of a table of width 4")
def row_zero(load):
    return load("positions").sinusoidal_table(2, 4)[0]


@case("1.1", "width 3: refused")
def odd_width(load):
    return load("positions").sinusoidal_table(4, 3)


@case("1.1", "4 tokens where 4 fit, then 5")
def lengths(load):
    load("positions").check_length(4, 4)
    return load("positions").check_length(5, 4)


@case("1.1", "3 tokens where 4 fit: nothing happens")
def short(load):
    return load("positions").check_length(3, 4)


Q = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
K = torch.tensor([[2.0, 0.0], [0.0, 1.0], [1.0, -1.0]])
V = torch.tensor([[1.0, 10.0], [2.0, 20.0], [4.0, 40.0]])


@case("1.2", "who sees whom among 3 tokens")
def three_tokens(load):
    return load("attention").causal_visibility(3).int()


@case("1.2", "3 queries, 3 keys, no mask: the weights")
def weights(load):
    return load("attention").attention(Q, K, V)[1]


@case("1.2", "the same: the output")
def output(load):
    return load("attention").attention(Q, K, V)[0]


@case("1.2", "the same with a causal mask: the weights")
def causal(load):
    is_visible = torch.tensor([[1, 0, 0], [1, 1, 0], [1, 1, 1]]).bool()
    return load("attention").attention(Q, K, V, is_visible)[1]


@case("1.2", "2 queries that may see the last of 3 keys alone: the output")
def last_alone(load):
    is_visible = torch.tensor([[0, 0, 1], [0, 0, 1]]).bool()
    return load("attention").attention(Q[:2], K, V, is_visible)[0]


@case("1.2", "a batch of 2 with 2 heads of width 3, 4 queries, 5 keys: the output")
def batch(load):
    q, k, v = wave(2, 2, 4, 3), wave(2, 2, 5, 3, start=1.0), wave(2, 2, 5, 3, start=2.0)
    return load("attention").attention(3 * q, 2 * k, v)[0]


def by_hand(load, causal):
    module = load("demo_attention_by_hand")
    x, matrices = wave(3, 4).double().numpy(), [wave(4, 2, start=i).double().numpy()
                                                for i in (1.0, 2.0, 3.0)]
    found = module.attention_by_hand(x, *matrices, causal=causal)
    return module.backward_by_hand(x, *matrices, found, wave(3, 2, start=4.0).double().numpy())


@case("1.2b", "3 tokens of width 4, a head of width 2, not causal: dV and d weights")
def values_and_weights(load):
    found = by_hand(load, False)
    return {name: found[name] for name in ("dV", "d weights")}


@case("1.2b", "the same: d scaled, behind the softmax")
def through_softmax(load):
    return by_hand(load, False)["d scaled"]


@case("1.2b", "the same: dQ and dK")
def queries_and_keys(load):
    found = by_hand(load, False)
    return {name: found[name] for name in ("dQ", "dK")}


@case("1.2b", "the same: the gradients of the three matrices")
def matrices(load):
    found = by_hand(load, False)
    return {name: found[name] for name in ("dW_Q", "dW_K", "dW_V")}


@case("1.2b", "the same: dX")
def inputs(load):
    return by_hand(load, False)["dX"]


@case("1.2b", "the same, causal: dK and dX")
def causal_backward(load):
    found = by_hand(load, True)
    return {name: found[name] for name in ("dK", "dX")}


def heads(load, **what):
    return filled(load("attention").MultiHeadAttention(4, 2, **what), 0.9)


@case("1.4", "2 tokens of width 4, numbered 0 to 7, cut for 2 heads")
def cut(load):
    return heads(load).split(torch.arange(8.0).view(1, 2, 4))


@case("1.4", "2 heads of width 2 at 3 tokens, numbered 0 to 11, put side by side")
def joined(load):
    return heads(load).concatenate(torch.arange(12.0).view(1, 2, 3, 2))


@case("1.4", "which of 3 tokens are visible: causal, and the first one hidden by the given mask")
def both_masks(load):
    given = torch.tensor([[[[False, True, True]]]])
    return heads(load, causal=True).visibility(3, given, None).int()


@case("1.4", "what is visible when nothing is given: causal, and not causal")
def no_mask(load):
    module = heads(load, causal=True)
    return [module.visibility(2, None, None).int(), heads(load).visibility(2, None, None)]


@case("1.4", "3 tokens through 2 causal heads, line by line")
def explicit(load):
    return heads(load, causal=True)(wave(1, 3, 4), explicit=True)


@case("1.4", "3 tokens through 2 causal heads, by the fused kernel")
def fused(load):
    return heads(load, causal=True)(wave(1, 3, 4))


@case("1.4", "the same without a causal mask")
def free(load):
    return heads(load)(wave(1, 3, 4))


@case("1.4", "2 tokens that look at a context of 3")
def context(load):
    return heads(load)(wave(1, 2, 4), wave(1, 3, 4, start=3.0))


@case("1.4", "the same, the last of the context hidden")
def context_masked(load):
    mask = torch.tensor([[[[True, True, False]]]])
    return heads(load)(wave(1, 2, 4), wave(1, 3, 4, start=3.0), mask)


@case("1.5", "gelu of -2, -1, 0, 1, 3")
def bent(load):
    return load("mlp").gelu(torch.tensor([-2.0, -1.0, 0.0, 1.0, 3.0]))


@case("1.5", "gelu_tanh of -2, -1, 0, 1, 3")
def bent_by_tanh(load):
    return load("mlp").gelu_tanh(torch.tensor([-2.0, -1.0, 0.0, 1.0, 3.0]))


@case("1.5", "an MLP of width 2 on two tokens")
def two_tokens(load):
    return filled(load("mlp").MLP(2), 1.0)(wave(1, 2, 2, start=0.5))


def norm_of(load, x, eps=1e-5, plain=True):
    norm = load("norm").LayerNorm(x.size(-1), eps)
    if not plain:
        norm.weight.data, norm.bias.data = wave(x.size(-1)) + 2, wave(x.size(-1), start=1.0)
    return norm(x)


@case("1.6", "x = (1, 2, 3, 6), weight 1, bias 0")
def one_vector(load):
    return norm_of(load, torch.tensor([1.0, 2.0, 3.0, 6.0]))


@case("1.6", "two tokens, (1, 3) and (10, 30)")
def two_vectors(load):
    return norm_of(load, torch.tensor([[[1.0, 3.0], [10.0, 30.0]]]))


@case("1.6", "a constant vector, (5, 5)")
def constant(load):
    return norm_of(load, torch.tensor([5.0, 5.0]))


@case("1.6", "a vector whose variance is as small as eps: (0.001, -0.001), eps 1e-6")
def tiny(load):
    return norm_of(load, torch.tensor([0.001, -0.001]), 1e-6)


@case("1.6", "x = (1, 2, 3, 6) with a learned weight and bias")
def scaled(load):
    return norm_of(load, torch.tensor([1.0, 2.0, 3.0, 6.0]), plain=False)


def block_with(load, **gone):
    """A block of width 4; `gone`: names of parts whose output layer is zero."""
    block = filled(load("block").Block(4, 2), 0.9)
    with torch.no_grad():
        for name in gone:
            for parameter in getattr(block, name).project.parameters():
                parameter.zero_()
    return block


@case("1.7", "3 tokens through a block whose attention and MLP say nothing")
def silent(load):
    return block_with(load, attention=0, mlp=0)(wave(1, 3, 4))


@case("1.7", "3 tokens through a block whose MLP says nothing")
def attention_alone(load):
    return block_with(load, mlp=0)(wave(1, 3, 4))


@case("1.7", "3 tokens through a block whose attention says nothing")
def mlp_alone(load):
    return block_with(load, attention=0)(wave(1, 3, 4))


@case("1.7", "3 tokens through a whole block")
def whole_block(load):
    return block_with(load)(wave(1, 3, 4))


IDS = torch.tensor([[1, 4, 2], [3, 0, 1]])


def gpt(load, **what):
    model = load("model")
    settings = {"vocab_size": 6, "block_size": 4, "n_layer": 2, "n_head": 2, "n_embd": 4}
    return filled(model.GPT(model.GPTConfig(**settings | what)), 0.8)


@case("1.7b", "two rows of three ids as vectors, positions added")
def embedded(load):
    return gpt(load).embed(IDS)


@case("1.7b", "the same with positions 'none'")
def without_positions(load):
    return gpt(load, positions="none").embed(IDS)


@case("1.7b", "five ids where block_size is 4: refused")
def too_long(load):
    return gpt(load).embed(torch.zeros(1, 5, dtype=torch.long))


@case("1.7b", "an id that the vocabulary lacks: refused")
def unknown_id(load):
    return gpt(load).embed(torch.tensor([[6]]))


@case("1.7b", "the logits of two rows of three ids")
def logits(load):
    return gpt(load)(IDS)


@case("1.7b", "the loss, with one target left out (-100)")
def loss(load):
    targets = torch.tensor([[4, 2, -100], [0, 1, 5]])
    return gpt(load)(IDS, targets)[1]


@case("1.7b", "what six steps of generation append to two rows")
def written(load):
    return gpt(load).generate(IDS, 6)


@case("1.7b", "the spread of the weights at the start: of project, of other matrices, of biases")
def spread(load):
    model = load("model")
    made = model.GPT(model.GPTConfig(vocab_size=64, n_layer=8, n_head=2, n_embd=64))
    of = dict(made.named_parameters())
    found = {}
    for name in ("blocks.0.mlp.project.weight", "blocks.0.attention.project.weight",
                 "blocks.3.mlp.widen.weight", "token_embedding.weight", "blocks.0.mlp.widen.bias"):
        found[name] = round(200 * float(of[name].std())) / 200
    return found


def enc_dec(load, **what):
    module = load("encoder_decoder")
    settings = {"vocab_size": 7, "block_size": 6, "n_layer": 2, "n_head": 2, "n_embd": 4}
    return module, filled(module.EncoderDecoder(module.EncoderDecoderConfig(**settings | what)), 0.8)


SOURCE = torch.tensor([[3, 4, 5], [6, 3, 0]])
IS_REAL = torch.tensor([[True, True, True], [True, True, False]])[:, None, None, :]


@case("1.8", "x = (1, 2), a norm that doubles, a branch that adds 1: pre-norm")
def pre_norm(load):
    module = load("encoder_decoder")
    return module.add_residual(torch.tensor([1.0, 2.0]), lambda x: 2 * x, lambda x: x + 1, True)


@case("1.8", "x = (1, 2), a norm that doubles, a branch that adds 1: post-norm")
def post_norm(load):
    module = load("encoder_decoder")
    return module.add_residual(torch.tensor([1.0, 2.0]), lambda x: 2 * x, lambda x: x + 1, False)


@case("1.8", "three ids as vectors of width 4")
def vectors(load):
    module, model = enc_dec(load)
    return model.encoder.embed(SOURCE, "source")


@case("1.8", "which of two sources are real, where 0 is padding")
def real(load):
    return enc_dec(load)[1].source_is_real(SOURCE).int()


@case("1.8", "a source of padding alone: refused")
def nothing_but_padding(load):
    return enc_dec(load)[1].source_is_real(torch.tensor([[3, 4], [0, 0]]))


@case("1.8", "an encoder layer on three vectors, all real")
def encoder_layer(load):
    layer = enc_dec(load)[1].encoder.layers[0]
    return layer(wave(1, 3, 4), IS_REAL[:1])


@case("1.8", "an encoder layer on three vectors, the last one padding: what the real two become")
def encoder_padded(load):
    layer = enc_dec(load)[1].encoder.layers[0]
    return layer(wave(1, 3, 4), IS_REAL[1:])[:, :2]


@case("1.8", "a decoder layer: 2 vectors, a memory of 3")
def decoder_layer(load):
    layer = enc_dec(load)[1].decoder.layers[0]
    return layer(wave(1, 2, 4), wave(1, 3, 4, start=2.0), IS_REAL[:1])


@case("1.8", "a decoder layer: 2 vectors, a memory of 3 whose last is padding")
def decoder_padded(load):
    layer = enc_dec(load)[1].decoder.layers[0]
    return layer(wave(1, 2, 4), wave(1, 3, 4, start=2.0), IS_REAL[1:])


@case("1.8b", "the logits of two sources and two targets, one source padded")
def both_logits(load):
    return enc_dec(load)[1](SOURCE, torch.tensor([[1, 4], [1, 5]]))[0]


@case("1.8b", "the loss, one label padding")
def padded_loss(load):
    target = torch.tensor([[1, 4], [1, 5]])
    return enc_dec(load)[1](SOURCE, target, torch.tensor([[4, 2], [2, 0]]))[1]


class Told:
    """A decoder that says one thing after the other, whatever it reads, and notes what it read."""

    def __init__(self, said):
        self.said, self.read = said, []

    def __call__(self, target, memory, is_real):
        self.read.append(target.clone())
        wanted = torch.tensor([row[min(target.size(1), len(row)) - 1] for row in self.said])
        return torch.nn.functional.one_hot(wanted, 7).float()[:, None].expand(-1, target.size(1), -1)


def told(load, said, most=None):
    model = enc_dec(load)[1]
    decoder = Told(said)
    model.decoder = None
    object.__setattr__(model, "decoder", decoder)
    return model.generate(SOURCE, most), decoder.read


@case("1.8b", "one row says 4, end; the other 5, 3, 6, end (2 is the end token)")
def two_lengths(load):
    return told(load, [[4, 2], [5, 3, 6, 2]])[0]


@case("1.8b", "what the decoder was given to read while both wrote")
def readings(load):
    return told(load, [[4, 2], [5, 3, 6, 2]])[1]


@case("1.8b", "nobody ends: at most 3 tokens were asked for")
def no_end(load):
    return told(load, [[4, 4, 4, 4, 4], [5, 3, 6, 5, 5]], 3)[0]


@case("1.8b", "nobody ends, and nothing was asked for: the shape of what is written")
def no_limit(load):
    return list(told(load, [[4], [5]])[0].shape)


@case("1.8b", "two sources written by the model itself")
def by_itself(load):
    return enc_dec(load)[1].generate(SOURCE)
