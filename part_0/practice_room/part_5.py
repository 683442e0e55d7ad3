"""Topics of part 5, mixture of experts, for practice.py."""

from practice_room.topics import Topic

TOPICS = [
    Topic("5.1", "Which experts, with which weights", 20, {"moe/router.py": {
        "gate_scores": ("softmax over the experts, or each by itself through a sigmoid",),
        "choose_experts": (
            "bias and noise move the ranking alone, and no gradient goes through it: detach",
            "the k largest; their weights are the plain scores, gathered",
            "renormalize: divided by their sum"),
        "count_load": ("how often each expert was chosen: torch.bincount, with minlength",)}},
        tests=("test_router.py",), demo=("demo_token_routing.py",)),
    Topic("5.1b", "What keeps the load even", 20, {"moe/router.py": {
        "max_load": ("the largest load over the mean load; 1 where there is none",),
        "balance_loss": (
            "f: the share of the choices; P: the mean score; E times the sum of f P",),
        "z_loss": ("the mean of the squares of log sum exp of the scores",),
        "bias_step": ("up by `rate` below the mean load, down above it: torch.sign",)}},
        tests=("test_router.py",), demo=("demo_collapse.py", "--quick")),
    Topic("5.1c", "The router", 35, {"moe/router.py": {
        "Router.forward": (
            "scores in float32, with autocast switched off; noise in training alone",
            "the bias only where it balances; renormalize by the config, or where k > 1",
            "times the scale; the load is counted before anything is dropped, and added up in"
            " training",
            "in training capacity_of and drop_overflow; sigmoid's scores are divided by their sum at the end"),
        "Router.update_bias": (
            "one bias_step with the load since the last time, where it balances; forget the load",)}},
        tests=("test_router.py",), demo=("demo_moe.py", "--quick")),
    Topic("5.2", "Experts one by one", 20, {"moe/experts.py": {
        "experts_loop": (
            "for each expert: which tokens, by which choice? torch.where(experts == e)",
            "gate and up in one product; silu(gate) times up; down; times the choice's weight",
            "add to the tokens' rows: index_add"),
        "sort_by_expert": (
            "a stable argsort of the flattened choices; the dropped ones (-1) come first",
            "leave those out; give the order and the counts of each expert")}},
        tests=("test_experts.py",), demo=("demo_moe.py", "--quick")),
    Topic("5.2b", "Experts sorted, with the way back by hand", 60, {"moe/experts.py": {
        "SortedExperts.forward": (
            "place[order] = 0, 1, 2 …: the row of y of each choice; the row behind, M, is zero",
            "each expert's rows: h = x W^T, silu(u) * v, then down, into its rows of y",
            "save what backward needs; a token's output is a weighted sum of its rows of y"),
        "SortedExperts.backward": (
            "dL/dg = d · y; dL/dy = g d; dL/da = W_down^T dL/dy; dL/dv = silu(u) dL/da",
            "dL/du = silu'(u) v dL/da; the matrices get outer products",
            "rows back to tokens by `place`; weights' gradients back in their order")}},
        tests=("test_experts.py",), demo=("demo_moe.py", "--quick")),
    Topic("5.2c", "The layer", 15, {"moe/layer.py": {
        "MoE.forward": (
            "tokens in one row; route; experts; shared experts added, through a sigmoid gate",
            "keep `routing`; `loss` in training alone; back to the shape of x"),
        "MoE.router_loss": (
            "z-loss times its weight, and the balance loss times its weight where it balances",)}},
        tests=("test_experts.py",), demo=("demo_moe.py", "--quick")),
    Topic("5.3", "Room for only so many", 25, {"moe/router.py": {
        "capacity_of": ("`factor` times the even share of all choices, rounded up",),
        "drop_overflow": (
            "all first choices in turn, then all second choices: the transpose, flattened",
            "sorted by expert, each has a place in its expert's queue: number minus its begin",
            "a place below the capacity stays, others become DROPPED; back to (N, k)")}},
        tests=("test_router.py",), demo=("demo_expert_parallel.py", "--quick")),
    Topic("5.4", "Dense and experts in one model", 25, {"moe/hybrid.py": {
        "layer_kinds": (
            "every, blend, alternate (dense first), after_n, or the letters; else refuse",),
        "expert_width": (
            "as told; else the dense width shared by all that a token uses, at least 1",),
        "Blend.forward": ("(1 - a) dense + a experts, a the sigmoid of the learned number",),
        "HybridGPT.initialise": (
            "as in part 4; the experts' down matrices smaller by sqrt(2 n_layer)",),
        "HybridGPT.forward": (
            "in training, and where there is a loss, the routers' losses are added",)}},
        tests=("test_hybrid.py",), demo=("demo_moe.py", "--quick")),
]
