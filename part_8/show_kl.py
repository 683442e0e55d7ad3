"""Where does the KL sit? A policy's replies to held-out prompts, token by token.

    python part_8/show_kl.py                              out/ppo.pt beside part 6's sft.pt
    python part_8/show_kl.py --policy part_8/out/dpo.pt

The KL of a reply is a sum over its tokens of log π − log π_ref (eq. 8.5). Tokens that both models
would say cost nothing; a token that the tuned model would not have said costs what it was unlikely.
In the picture, a row is a reply and a cell a token: the darker, the more it costs.
"""

from run.runtime import (
    choose_runtime,
    here,
    make_parser,
    out_folder,
    print_table,
    run_main,
    save_json,
    seed_everything,
)

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
from pathlib import Path
from textwrap import shorten

import torch
from rl.policy import response_logp
from rl.quality_report import drawn_replies, held_out_items
from rl.rollout import Rollout
from run import plotting
from run.checkpoint import load_checkpoint

OUT = here(__file__).parent / "part_8" / "out"
SFT = here(__file__).parent / "part_6" / "out" / "sft.pt"
SFT_WITH = "python part_6/train_sft.py (about 4 minutes)"
PPO_WITH = "python part_8/train_ppo.py (about 3 minutes), or train_dpo.py"
PLACES = ("first token", "between", "end token")
DARK = 3.0  # nats of the darkest cell


@torch.inference_mode()
def token_kl(body, reference, rollout: Rollout, runtime, *, size: int = 64) -> list[torch.Tensor]:
    """For each reply (tokens,): log π − log π_ref of each of its tokens, the end token included."""
    rows, by_row = rollout.rows, [None] * len(rollout.rows)
    for part in rows.lengths.argsort().split(size):
        some = rows.pick(part)
        with runtime.autocast():
            difference = response_logp(body, some) - response_logp(reference, some)
        for i, line, is_response in zip(part.tolist(), difference.cpu(), some.is_response.cpu()):
            by_row[i] = line[is_response]
    return by_row


def by_place(kl: list[torch.Tensor], ended: torch.Tensor) -> dict[str, tuple[float, float]]:
    """-> {place: (tokens a reply, nats a reply)}. The nats sum to the KL of a reply."""
    tokens, nats = dict.fromkeys(PLACES, 0), dict.fromkeys(PLACES, 0.0)
    for line, is_whole in zip(kl, ended.tolist()):
        last = len(line) - 1 if is_whole else len(line)  # a reply that was cut off has no end token
        for t, value in enumerate(line.tolist()):
            place = "end token" if t == last else "first token" if t == 0 else "between"
            tokens[place] += 1
            nats[place] += value
    return {place: (tokens[place] / len(kl), nats[place] / len(kl)) for place in PLACES}


def pieces_of(ids: list[int], tokenizer) -> list[str]:
    """The text of each token; the end token by its name."""
    return ["<end>" if i == tokenizer.end else tokenizer.decode([i]) for i in ids]


def draw(shown: list[tuple[str, list[str], list[float]]], title: str, path: Path, setup: str) -> None:
    """One row a reply, one cell a token."""
    widest = max(len(pieces) for _, pieces, _ in shown)
    fig, ax = plotting.figure(title, setup, size=(7.5, 0.9 + 0.42 * len(shown)))
    for row, (asked, pieces, costs) in enumerate(shown):
        ax.text(-0.15, row, asked, ha="right", va="center", fontsize=6.5, color="#666666")
        for place, (piece, cost) in enumerate(zip(pieces, costs)):
            shade = min(max(cost, 0.0) / DARK, 1.0)
            ax.barh(row, 0.96, left=place, height=0.8, align="center", color=plotting.ORANGE,
                    alpha=0.06 + 0.8 * shade)
            ax.text(place + 0.48, row, piece.strip() or "␣", ha="center", va="center", fontsize=6.5)
    ax.set(xlim=(-0.45 * widest, widest), ylim=(len(shown) - 0.4, -0.6))
    ax.axis("off")
    plotting.save(fig, path)


def parse_args(argv=None):
    parser = make_parser(__doc__)
    parser.add_argument("--policy", type=Path, default=OUT / "ppo.pt",
                        help="a trained policy (default: out/ppo.pt)")
    parser.add_argument("--sft", type=Path, default=SFT,
                        help="the tuned model, its reference (default: part_6/out/sft.pt)")
    parser.add_argument("--prompts", type=int, default=300, help="held-out (default: 300)")
    parser.add_argument("--show", type=int, default=8, help="replies to show (default: 8)")
    parser.add_argument("--widest", type=int, default=12,
                        help="most tokens of a reply that is shown (default: 12)")
    return parser.parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    out = out_folder(__file__, args.out)
    for name in ("prompts", "show", "widest"):
        if getattr(args, name) < 1:
            raise ValueError(f"--{name} {getattr(args, name)}: must be at least 1")
    sft, tokenizer, _ = load_checkpoint(args.sft, make_with=SFT_WITH)
    policy, other, _ = load_checkpoint(args.policy, make_with=PPO_WITH)
    if other.fingerprint != tokenizer.fingerprint:
        raise ValueError(f"{args.policy}: its tokenizer is not that of {args.sft}")
    runtime = choose_runtime(args.device, args.amp, width=sft.config.n_embd)
    seed_everything(args.seed)
    sft, policy = sft.to(runtime.device), policy.to(runtime.device)
    asked = held_out_items(args.prompts, args.seed)
    rollout = drawn_replies(policy, asked, tokenizer, runtime, samples=1, seed=args.seed,
                            temperature=1.0)
    kl = token_kl(policy, sft, rollout, runtime)
    places = by_place(kl, rollout.ended)
    whole = sum(nats for _, nats in places.values())
    print_table(["place", "tokens a reply", "KL, nats a reply", "share"],
                [[place, tokens, nats, nats / whole if whole else 0.0]
                 for place, (tokens, nats) in places.items()],
                f"{args.policy}: KL {whole:.3f} nats a reply, {args.prompts} held-out prompts")
    replies = rollout.replies()
    few = [i for i, reply in enumerate(replies) if len(reply) <= args.widest][:args.show]
    shown = [(shorten(asked[i].prompt.split("\n")[-1], 44, placeholder=" …"),
              pieces_of(replies[i], tokenizer),
              kl[i].tolist()) for i in few]
    for question, pieces, costs in shown:
        print(f"{question:46s}" + "  ".join(f"{piece.strip()} {cost:+.2f}"
                                            for piece, cost in zip(pieces, costs)))
    save_json(out / "show_kl.json", {"kl": whole, "places": places})
    if shown:
        at = max(places, key=lambda place: places[place][1])
        name = args.policy.stem.upper()
        draw(shown, f"{name}: {places[at][1] / whole if whole else 0:.0%} of the KL sits on the {at}"
             if at != "between" else f"{name}: most of the KL sits between the first token and the "
             "end", out / "show_kl.png",
             f"replies to held-out prompts, temperature 1, seed {args.seed}; dark: {DARK:g} nats")


if __name__ == "__main__":
    run_main(main)
