"""Tuned model, PPO and DPO side by side on held-out prompts, with what each cost.

    python part_8/evaluate_ppo.py
    python part_8/evaluate_ppo.py --policy part_8/out/ppo.pt --policy other/ppo.pt    two runs

Quality is the judge's, of replies drawn at temperature 1 to prompts of content that nobody was
trained on; the gain and its interval are over the same prompts (eq. 8.3). "best of N" is the tuned
model, and of N replies the one that the reward model likes best: its worth without any training.
"tuned at T" is the tuned model at the temperature that suits it best: what being surer is worth,
untrained. The dashed line is the ceiling: the tuned model's own answers in perfect manners. The
second table says what changed: the share of replies in each manner, and of right answers.
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
import json
from pathlib import Path

import numpy as np
import torch
from rl.quality_report import (
    COOL,
    LONGEST,
    cool_quality,
    gain_interval,
    held_out_items,
    sampled_quality,
)
from rl.rollout import roll_out
from rl.scoring import load_source, true_qualities
from run import plotting
from run.checkpoint import load_checkpoint
from sft.chat_format import decode_reply, encode_prompt, messages_of
from sft.evaluation import evaluate_split

OUT = here(__file__).parent / "part_8" / "out"
SFT = here(__file__).parent / "part_6" / "out" / "sft.pt"
SFT_WITH = "python part_6/train_sft.py (about 4 minutes)"
REWARD = here(__file__).parent / "part_7" / "out" / "reward.pt"
REWARD_WITH = "python part_7/train_reward.py (about 3 minutes)"
PPO_WITH = "python part_8/train_ppo.py (about 3 minutes), or train_dpo.py"


def best_of(model, source, asked: list, tokenizer, runtime, n: int, seed: int) -> np.ndarray:
    """(P,): the quality of the reply that the reward model likes best, of n drawn ones."""
    prompts = [encode_prompt(messages_of(item), tokenizer) for item in asked]
    rollout = roll_out(model, prompts, LONGEST, end=tokenizer.end, pad=tokenizer.pad, copies=n,
                       runtime=runtime, generator=torch.Generator().manual_seed(seed))
    scores = source(rollout).view(len(asked), n)
    marks = true_qualities([item for item in asked for _ in range(n)], rollout, tokenizer)
    return np.array(marks).reshape(len(asked), n)[np.arange(len(asked)), scores.argmax(1).numpy()]


def seconds_of(path: Path) -> float | None:
    """How long the training took, from the JSON beside a checkpoint."""
    beside = path.with_suffix(".json")
    return json.loads(beside.read_text(encoding="utf-8"))["seconds"] if beside.is_file() else None


def show_replies(models: dict, asked: list, tokenizer, runtime) -> None:
    """The likeliest reply of every model to a few questions."""
    for item in asked:
        print(f"\nasked   {item.system} {item.prompt[-90:]}\ngold    {item.answer[:90]}")
        prompt = [encode_prompt(messages_of(item), tokenizer)]
        for name, model in models.items():
            rollout = roll_out(model, prompt, LONGEST, end=tokenizer.end, pad=tokenizer.pad,
                               runtime=runtime, temperature=1e-4)
            print(f"{name:14s} {decode_reply(rollout.replies()[0], tokenizer)[:90]}")


def draw(rows: list[dict], trained: int, best: float, path: Path, setup: str) -> None:
    """A bar for each row; the first is the tuned model, the `trained` after it are policies."""
    before = rows[0]["quality"]
    top = max(rows[1:1 + trained], key=lambda row: row["quality"])
    title = (f"{top['name'].upper()}: true quality {before:.3f} to {top['quality']:.3f}; in perfect "
             f"manners {best:.3f}")
    if rows[1 + trained:]:
        other = max(rows[1 + trained:], key=lambda row: row["quality"])
        title += f"; {other['name']}, untrained: {other['quality']:.3f}"
    fig, ax = plotting.figure(title, setup)
    for place, row in enumerate(rows):
        color = plotting.GREY if place == 0 else plotting.CYCLE[(place - 1) % 6]
        ax.bar(place, row["quality"], 0.6, color=color)
        if row["low"] is not None:
            ax.errorbar(place, row["quality"], [[row["gain"] - row["low"]],
                                                [row["high"] - row["gain"]]],
                        color="#333333", lw=1, capsize=3)
        ax.text(place + 0.05, row["quality"], f" {row['quality']:.3f}", ha="left", va="bottom",
                fontsize=8)
    ax.axhline(best, color="#BBBBBB", lw=0.8, ls="--")
    ax.set_xticks(range(len(rows)), [row["name"] for row in rows], fontsize=8)
    ax.set(ylabel="true quality (the judge)", ylim=(0, 1.08))
    plotting.save(fig, path)


def parse_args(argv=None):
    parser = make_parser(__doc__)
    parser.add_argument("--policy", type=Path, action="append", default=None,
                        help="a trained policy; several times for several (default: out/ppo.pt "
                             "and out/dpo.pt)")
    parser.add_argument("--sft", type=Path, default=SFT,
                        help="the tuned model (default: part_6/out/sft.pt)")
    parser.add_argument("--reward", type=Path, default=REWARD,
                        help="the reward model (default: part_7/out/reward.pt)")
    parser.add_argument("--prompts", type=int, default=300, help="held-out (default: 300)")
    parser.add_argument("--samples", type=int, default=4, help="replies to each (default: 4)")
    parser.add_argument("--exact", type=int, default=420,
                        help="questions for greedy exact match, 0: none (default: 420)")
    parser.add_argument("--best-of", type=int, default=8,
                        help="replies that the best is taken of, 0: none (default: 8)")
    parser.add_argument("--cool", type=float, nargs="*", default=list(COOL),
                        help="temperatures to try the tuned model at; the best is shown (default: "
                             f"{' '.join(map(str, COOL))})")
    parser.add_argument("--show", type=int, default=3, help="questions to show (default: 3)")
    return parser.parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    if args.prompts < 1 or args.samples < 1:
        raise ValueError("--prompts and --samples must be at least 1")
    if args.show < 0:
        raise ValueError(f"--show {args.show}: must not be below 0")
    if any(not temperature > 0 for temperature in args.cool):
        raise ValueError(f"--cool {args.cool}: a temperature is above 0 (none at all: no such row)")
    out = out_folder(__file__, args.out)
    sft, tokenizer, _ = load_checkpoint(args.sft, make_with=SFT_WITH)
    runtime = choose_runtime(args.device, args.amp, width=sft.config.n_embd)
    source = load_source(args.reward, tokenizer, runtime, REWARD_WITH)
    seed_everything(args.seed)
    models, cost = {"tuned": sft.to(runtime.device)}, {"tuned": None}
    for path in args.policy or [OUT / "ppo.pt", OUT / "dpo.pt"]:
        model, other, _ = load_checkpoint(path, make_with=PPO_WITH)
        if other.fingerprint != tokenizer.fingerprint:
            raise ValueError(f"{path}: its tokenizer is not that of {args.sft}")
        name = path.stem if path.stem not in models else f"{path.parent.name}/{path.stem}"
        models[name], cost[name] = model.to(runtime.device), seconds_of(path)
    asked = held_out_items(args.prompts, args.seed)
    rows, measured = [], {}  # a row for the table, and what was measured
    for name, model in models.items():
        measured[name] = sampled_quality(model, sft, source, asked, tokenizer, runtime,
                                         samples=args.samples, seed=args.seed)
        gain = (None,) * 3 if name == "tuned" else gain_interval(
            measured[name].quality, measured["tuned"].quality, args.seed)
        exact = evaluate_split(model, tokenizer, runtime, "new_items", args.exact,
                               args.seed + 1).answer_right if args.exact else None
        rows.append({"name": name, **measured[name].means(), "gain": gain[0], "low": gain[1],
                     "high": gain[2], "exact": exact, "seconds": cost[name]})
    if args.cool:
        at, _ = cool_quality(sft, asked, tokenizer, runtime, seed=args.seed,
                             temperatures=tuple(args.cool))
        cool = sampled_quality(sft, sft, source, asked, tokenizer, runtime, samples=args.samples,
                               seed=args.seed, temperature=at)
        gain, low, high = gain_interval(cool.quality, measured["tuned"].quality, args.seed)
        measured[f"tuned at {at:g}"] = cool
        rows.append({"name": f"tuned at {at:g}", **cool.means(), "gain": gain, "low": low,
                     "high": high})
    if args.best_of:
        marks = best_of(sft, source, asked, tokenizer, runtime, args.best_of, args.seed)
        gain, low, high = gain_interval(marks, measured["tuned"].quality, args.seed)
        rows.append({"name": f"best of {args.best_of}", "quality": float(marks.mean()),
                     "gain": gain, "low": low, "high": high})
    best = measured["tuned"].means()["ceiling"]
    columns = ("quality", "gain", "low", "high", "reward", "kl", "length", "ended", "exact",
               "seconds")
    print_table(["policy", *columns], [[row["name"], *(row.get(c) for c in columns)]
                                       for row in rows],
                f"{args.prompts} held-out prompts x {args.samples}; the tuned model's answers in "
                f"perfect manners are worth {best:.3f}, its rewards have a deviation of "
                f"{measured['tuned'].spread:.3f}")
    print_table(["policy", *measured["tuned"].manners, "not in pairs", "right"],
                [[name, *one.manners.values(), one.held_out, one.means()["right"]]
                 for name, one in measured.items()], "Share of the replies in each manner")
    show_replies(models, asked[:args.show], tokenizer, runtime)
    save_json(out / "evaluate_ppo.json",
              {"ceiling": best, "rows": rows,
               "manners": {name: one.manners for name, one in measured.items()}})
    draw(rows, len(models) - 1, best, out / "evaluate_ppo.png",
         f"{args.prompts} held-out prompts × {args.samples} replies, temperature 1 or as named; "
         f"bars: 95% of the gain; dashed: perfect manners; seed {args.seed}")


if __name__ == "__main__":
    run_main(main)
