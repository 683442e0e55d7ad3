"""Which tokens go to which expert, and what happens when an expert is full?

    python part_5/demo_token_routing.py

Routes ten tokens to four experts by the functions of moe/router.py: scores, the best two, weights
that sum to 1, and a capacity of six choices for each expert.
What to see: the router leans to expert 0; with a capacity its later tokens are turned away there and
are left with their other choice.
"""

from run.runtime import make_parser, out_folder, print_table, run_main, seed_everything

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
import torch
from moe.router import (
    DROPPED,
    capacity_of,
    choose_experts,
    count_load,
    drop_overflow,
    gate_scores,
    max_load,
)
from run.plotting import BLACK, CYCLE, GREY, figure, save

TOKENS, EXPERTS, CHOICES, FACTOR = 10, 4, 2, 1.2
LEAN = 1.0    # how much the scores prefer expert 0


def route(seed: int) -> dict:
    """Scores, choices, weights, and the choices that are left under a capacity."""
    seed_everything(seed)
    logits = torch.randn(TOKENS, EXPERTS)
    logits[:, 0] += LEAN
    scores = gate_scores(logits, "softmax")
    experts, weights = choose_experts(scores, CHOICES, renormalize=True)
    capacity = capacity_of(TOKENS, CHOICES, EXPERTS, FACTOR)
    return {"scores": scores, "experts": experts, "weights": weights, "capacity": capacity,
            "kept": drop_overflow(experts, EXPERTS, capacity), "load": count_load(experts, EXPERTS)}


def draw(path, routed: dict, setup: str) -> None:
    dropped = int((routed["kept"] == DROPPED).sum())
    fig, ax = figure(f"Each token goes to {CHOICES} of {EXPERTS} experts; a capacity of "
                     f"{routed['capacity']} turns away {dropped} of {TOKENS * CHOICES} choices",
                     setup, size=(7, 4))
    for token in range(TOKENS):
        y = -token
        ax.text(-0.06, y, f"token {token}", ha="right", va="center", fontsize=8.5)
        for choice in range(CHOICES):
            expert = int(routed["experts"][token, choice])
            is_dropped = int(routed["kept"][token, choice]) == DROPPED
            weight = float(routed["weights"][token, choice])
            ax.plot([0, 1], [y, -expert * (TOKENS - 1) / (EXPERTS - 1)], linewidth=0.5 + 4 * weight,
                    color=BLACK if is_dropped else CYCLE[expert], alpha=0.75,
                    linestyle=":" if is_dropped else "-")
    for expert in range(EXPERTS):
        used = int((routed["kept"] == expert).sum())
        ax.text(1.04, -expert * (TOKENS - 1) / (EXPERTS - 1),
                f"expert {expert}: {int(routed['load'][expert])} choices, {used} kept", va="center",
                fontsize=8.5)
    ax.text(0.5, -TOKENS + 0.35, "thickness: the weight g; black and dotted: turned away",
            ha="center", fontsize=8, color=GREY)
    ax.set(xlim=(-0.2, 1.62), ylim=(-TOKENS + 0.1, 0.6))
    ax.axis("off")
    save(fig, path)


def parse_args(argv=None):
    return make_parser(__doc__, runs_model=False).parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    out = out_folder(__file__, args.out)
    routed = route(args.seed)
    print_table(["token", *(f"p of expert {e}" for e in range(EXPERTS)), "chosen", "weights", "kept"],
                [[str(t), *(f"{p:.2f}" for p in routed["scores"][t]),
                  ", ".join(map(str, routed["experts"][t].tolist())),
                  ", ".join(f"{g:.2f}" for g in routed["weights"][t].tolist()),
                  ", ".join("--" if e == DROPPED else str(e) for e in routed["kept"][t].tolist())]
                 for t in range(TOKENS)],
                f"max load {max_load(routed['load']):.2f}; capacity {routed['capacity']}")
    draw(out / "diagram_routing.png", routed, f"{TOKENS} tokens, {EXPERTS} experts, top-{CHOICES}, "
         f"capacity factor {FACTOR}; the router leans to expert 0; seed {args.seed}")


if __name__ == "__main__":
    run_main(main)
