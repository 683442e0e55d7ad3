"""Tiny worked cases of part 5 for the practice; tests/worked_cases.py says what a case is."""

import torch
from worked_cases import case, filled, wave

SCORES = torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.3, 0.6]])
LOGITS = torch.tensor([[1.0, 0.0, -1.0], [0.0, 2.0, 0.5]])


@case("5.1", "the scores 1, 0, -1 through softmax")
def softmax(load):
    return load("moe.router").gate_scores(LOGITS, "softmax")


@case("5.1", "the same through sigmoid")
def sigmoid(load):
    return load("moe.router").gate_scores(LOGITS, "sigmoid")


@case("5.1", "scores .5 .3 .2 and .1 .3 .6, two experts, renormalized")
def two_of_three(load):
    return load("moe.router").choose_experts(SCORES, 2, renormalize=True)


@case("5.1", "the same, not renormalized")
def not_renormalized(load):
    return load("moe.router").choose_experts(SCORES, 2, renormalize=False)


@case("5.1", "one expert, with a bias of 0, 0.4, 0: the choice moves, the weight is the score")
def with_bias(load):
    return load("moe.router").choose_experts(SCORES, 1, renormalize=False,
                                             bias=torch.tensor([0.0, 0.4, 0.0]))


@case("5.1", "two experts with noise, renormalized")
def with_noise(load):
    noise = torch.tensor([[0.0, 0.0, 0.9], [0.9, 0.0, 0.0]])
    return load("moe.router").choose_experts(SCORES, 2, renormalize=True, noise=noise)


@case("5.1", "the gradient of the first weight, renormalized, by the scores")
def gradient(load):
    scores = SCORES.clone().requires_grad_()
    load("moe.router").choose_experts(scores, 2, renormalize=True)[1][0, 0].backward()
    return scores.grad


@case("5.1", "the choices (1, 0), (1, 2) of 4 experts: the load")
def load_of_four(load):
    return load("moe.router").count_load(torch.tensor([[1, 0], [1, 2]]), 4)


@case("5.1b", "loads 4, 1, 1 and 0, 0: the largest over the mean")
def fullest(load):
    router = load("moe.router")
    return [router.max_load(torch.tensor(x)) for x in ([4, 1, 1], [0, 0])]


@case("5.1b", "the balance loss of scores .5 .3 .2 and .1 .3 .6, load 3, 1, 0")
def balance(load):
    return load("moe.router").balance_loss(SCORES, torch.tensor([3, 1, 0]))


@case("5.1b", "the balance loss of even scores and an even load of 6")
def even(load):
    return load("moe.router").balance_loss(torch.full((2, 3), 1 / 3), torch.tensor([2, 2, 2]))


@case("5.1b", "the gradient of the balance loss by the scores")
def balance_gradient(load):
    scores = SCORES.clone().requires_grad_()
    load("moe.router").balance_loss(scores, torch.tensor([3, 1, 0])).backward()
    return scores.grad


@case("5.1b", "the z-loss of two tokens")
def z_loss(load):
    return load("moe.router").z_loss(LOGITS)


@case("5.1b", "bias 0, load 5, 1, 3, rate 0.1")
def bias_step(load):
    return load("moe.router").bias_step(torch.zeros(3), torch.tensor([5, 1, 3]), 0.1)


@case("5.1b", "bias 1, 2, load 3, 0, rate 0.5")
def second_step(load):
    return load("moe.router").bias_step(torch.tensor([1.0, 2.0]), torch.tensor([3, 0]), 0.5)


def router(load, training=False, **what):
    module, layer = load("moe.router"), load("moe.layer")
    made = filled(module.Router(2, layer.MoEConfig(**{"n_expert": 4, "n_active": 2} | what)), 1.0)
    made.bias.copy_(torch.tensor([0.0, 0.9, 0.0, 0.0]))
    return made.train(training)


def routed(load, training=False, **what):
    made = router(load, training, **what)
    routing = made(wave(6, 2))
    return {"experts": routing.experts, "weights": routing.weights, "scores": routing.scores,
            "load": routing.load, "counted": made.load}


@case("5.1c", "6 tokens, 4 experts, 2 for each, in evaluation")
def evaluated(load):
    return routed(load)


@case("5.1c", "the same in training: the load is counted")
def trained(load):
    return routed(load, True)


@case("5.1c", "sigmoid, balanced by bias, scale 2")
def by_bias(load):
    return routed(load, True, gate="sigmoid", balance="bias", scale=2.0)


@case("5.1c", "one expert for each token")
def one_expert(load):
    return routed(load, n_active=1)


@case("5.1c", "room for 0.5 of an even share")
def half_room(load):
    return routed(load, capacity=0.5)


@case("5.1c", "noise 5 in evaluation")
def noise_in_evaluation(load):
    return routed(load, noise=5.0)["experts"]


@case("5.1c", "noise 5 in training: do the choices change?")
def noise_in_training(load):
    made = router(load, True, noise=5.0)
    x = wave(64, 2)
    return bool((made(x).experts != made(x).experts).any())


@case("5.1c", "two passes of training, then the step of the biases")
def biases(load):
    made = router(load, True, balance="bias", bias_rate=0.25)
    made(wave(6, 2))
    made(wave(5, 2, start=1.0))
    counted = made.load.clone()
    made.update_bias()
    return {"counted": counted, "bias": made.bias, "afterwards": made.load}


@case("5.1c", "the same with balance by the loss: the biases stay")
def biases_stay(load):
    made = router(load, True)
    made(wave(6, 2))
    made.update_bias()
    return {"bias": made.bias, "afterwards": made.load}


@case("5.1c", "scores under autocast: their type, and how far from those without")
def under_autocast(load):
    made = router(load)
    x = 3 * wave(6, 2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = made(x).logits
    return str(inside.dtype), bool((inside - made(x).logits).abs().max() < 1e-6)


GATE_UP, DOWN = wave(3, 4, 2), wave(3, 2, 2, start=1.0)
EXPERTS = torch.tensor([[1, 0], [2, 1], [-1, 2], [1, -1]])
WEIGHTS = torch.tensor([[0.7, 0.3], [0.6, 0.4], [0.5, 0.5], [0.9, 0.1]])


def by(load, name, experts=EXPERTS, weights=WEIGHTS):
    return getattr(load("moe.experts"), name)(wave(4, 2, start=2.0), experts, weights,
                                              GATE_UP, DOWN)


@case("5.2", "4 tokens, 3 experts, two choices each, some dropped (-1)")
def loop(load):
    return by(load, "experts_loop")


@case("5.2", "one choice each, all weights 1")
def one_choice(load):
    return by(load, "experts_loop", torch.tensor([[0], [1], [2], [0]]), torch.ones(4, 1))


@case("5.2", "a token that chooses one expert twice, weights 0.7 and 0.3")
def chosen_twice(load):
    return by(load, "experts_loop", torch.tensor([[1, 1]] * 4))


@case("5.2", "the choices (1, 0), (1, dropped) sorted by expert")
def sorted_choices(load):
    return load("moe.experts").sort_by_expert(torch.tensor([[1, 0], [1, -1]]), 2)


@case("5.2", "the choices (2, 1), (1, 2), (2, 1) of 4 experts, sorted")
def sorted_in_turn(load):
    return load("moe.experts").sort_by_expert(torch.tensor([[2, 1], [1, 2], [2, 1]]), 4)


def learnt(load, experts=EXPERTS):
    x = wave(4, 2, start=2.0).requires_grad_()
    weights = WEIGHTS.clone().requires_grad_()
    gate_up, down = GATE_UP.clone().requires_grad_(), DOWN.clone().requires_grad_()
    out = load("moe.experts").experts_sorted(x, experts, weights, gate_up, down)
    (out * wave(4, 2, start=5.0)).sum().backward()
    return out.detach(), x.grad, weights.grad, gate_up.grad, down.grad


@case("5.2b", "4 tokens, 3 experts, two choices each, some dropped: the output")
def sorted_output(load):
    return by(load, "experts_sorted")


@case("5.2b", "all choices kept: the output")
def all_kept(load):
    return by(load, "experts_sorted", torch.tensor([[0, 1], [1, 2], [2, 0], [0, 2]]))


@case("5.2b", "the gradient of the tokens")
def token_gradient(load):
    return learnt(load)[1]


@case("5.2b", "the gradient of the choices' weights")
def weights_gradient(load):
    return learnt(load)[2]


@case("5.2b", "the gradient of W_gate and W_up")
def gate_up_gradient(load):
    return learnt(load)[3]


@case("5.2b", "the gradient of W_down")
def down_gradient(load):
    return learnt(load)[4]


@case("5.2b", "the gradient of the tokens where all choices are kept")
def kept_gradient(load):
    return learnt(load, torch.tensor([[0, 1], [1, 2], [2, 0], [0, 2]]))[1]


def layer(load, training=False, **what):
    module = load("moe.layer")
    config = module.MoEConfig(**{"n_expert": 3, "n_active": 2, "balance_weight": 0.5,
                                 "z_weight": 0.25} | what)
    return filled(module.MoE(2, 2, config), 0.9).train(training)


@case("5.2c", "two rows of two tokens through the layer")
def through_layer(load):
    return layer(load)(wave(2, 2, 2))


@case("5.2c", "with a shared expert")
def with_shared(load):
    return layer(load, n_shared=1)(wave(2, 2, 2))


@case("5.2c", "with a shared expert behind a gate")
def with_shared_gate(load):
    return layer(load, n_shared=1, shared_gate=True)(wave(2, 2, 2))


@case("5.2c", "what training adds to the loss: balance 0.5, z 0.25")
def added_loss(load):
    made = layer(load, True)
    made(wave(2, 2, 2))
    return made.loss


@case("5.2c", "the same where biases balance")
def added_by_bias(load):
    made = layer(load, True, balance="bias")
    made(wave(2, 2, 2))
    return made.loss


@case("5.2c", "in evaluation: the loss, and the load that was kept")
def in_evaluation(load):
    made = layer(load)
    made(wave(2, 2, 2))
    return made.loss, made.routing.load


@case("5.3", "10 tokens, 2 choices, 3 experts: the room for factors 1, 1.25 and 0.01")
def rooms(load):
    return [load("moe.router").capacity_of(10, 2, 3, factor) for factor in (1.0, 1.25, 0.01)]


@case("5.3", "the choices (0, 1), (0, 1), (0, 2), (1, 0) with room for two")
def room_for_two(load):
    choices = torch.tensor([[0, 1], [0, 1], [0, 2], [1, 0]])
    return load("moe.router").drop_overflow(choices, 3, 2)


@case("5.3", "the same with room for one")
def room_for_one(load):
    choices = torch.tensor([[0, 1], [0, 1], [0, 2], [1, 0]])
    return load("moe.router").drop_overflow(choices, 3, 1)


@case("5.3", "second choices come before first ones in the list, and must wait")
def second_choices(load):
    choices = torch.tensor([[1, 0], [0, 1], [0, 1]])
    return load("moe.router").drop_overflow(choices, 2, 2)


@case("5.3", "room for all")
def room_for_all(load):
    choices = torch.tensor([[1, 0], [0, 1]])
    return load("moe.router").drop_overflow(choices, 2, 2)


@case("5.4", "the kinds of 4 layers: every, blend, alternate, after_1, ddmb")
def kinds(load):
    hybrid = load("moe.hybrid")
    return [hybrid.layer_kinds(x, 4) for x in ("every", "blend", "alternate", "after_1", "ddmb")]


@case("5.4", "three layers, alternate; and after_3")
def three_layers(load):
    return [load("moe.hybrid").layer_kinds(x, 3) for x in ("alternate", "after_3")]


@case("5.4", "after_5 of 4 layers: refused")
def too_many(load):
    return load("moe.hybrid").layer_kinds("after_5", 4)


@case("5.4", "letters that are none: refused")
def odd_letters(load):
    return load("moe.hybrid").layer_kinds("dxmm", 4)


def configs(load, **what):
    model, layer_module = load("gpt.model"), load("moe.layer")
    return (model.GPTConfig(vocab_size=7, block_size=8, n_layer=2, n_head=2, n_embd=8),
            layer_module.MoEConfig(**{"n_expert": 3, "n_active": 2, "n_shared": 1} | what))


@case("5.4", "the width of an expert: two used and one shared; as told; more experts than width")
def widths(load):
    hybrid = load("moe.hybrid")
    return [hybrid.expert_width(*configs(load)), hybrid.expert_width(*configs(load, n_hidden=5)),
            hybrid.expert_width(*configs(load, n_expert=90, n_active=90))]


@case("5.4", "a dense 1, experts 3, mixed by c = 0 and c = 1")
def blended(load):
    hybrid = load("moe.hybrid")
    blend = hybrid.Blend(torch.nn.Identity(), torch.nn.Identity())
    blend.moe = torch.nn.Linear(1, 1, bias=False)
    blend.moe.weight.data = torch.tensor([[3.0]])
    found = []
    for mix in (0.0, 1.0):
        blend.mix.data.fill_(mix)
        found.append(blend(torch.ones(1, 1)))
    return found


def hybrid_model(load, training, **what):
    made = filled(load("moe.hybrid").HybridGPT(*configs(load, **what)), 0.4)
    return made.train(training)


@case("5.4", "the loss in training and in evaluation, and what the routers add")
def losses(load):
    ids = torch.tensor([[1, 2, 3, 4]])
    found = []
    for training in (True, False):
        model = hybrid_model(load, training)
        loss = model(ids, ids)[1]
        found.append(float(loss))
    return found


@case("5.4", "a pass without targets, in training: no loss")
def no_targets(load):
    return hybrid_model(load, True)(torch.tensor([[1, 2]]))[1]


@case("5.4", "the spread of the experts' matrices at the start, 8 layers")
def spread(load):
    model, layer_module = load("gpt.model"), load("moe.layer")
    made = load("moe.hybrid").HybridGPT(
        model.GPTConfig(vocab_size=7, block_size=8, n_layer=8, n_head=2, n_embd=32),
        layer_module.MoEConfig(n_expert=8))
    return [round(1000 * float(x.std())) / 1000 for x in (made.moes[0].experts.gate_up,
                                                        made.moes[0].experts.down)]
