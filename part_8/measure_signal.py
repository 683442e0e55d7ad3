"""What can PPO learn here? How much of a gradient is signal, and who knows which reply is right.

    python part_8/measure_signal.py
    python part_8/measure_signal.py --batches 24      the shares more exactly

Left: gradients of several rollouts of the tuned model, none followed by an update. What they have in
common is signal, the rest is noise (eq. 8.18). Right: replies to one prompt, one right and one
wrong: how often does the reward model score the right one higher, and how often was it likelier
anyway, on content nobody was trained on and on content that the reward model has seen pairs of?
See: the number `sharpness` is mostly signal; on new content the reward model knows no more than the
policy does: what PPO can teach there is to trust its likeliest reply.
"""

from run.runtime import (
    choose_runtime,
    make_parser,
    out_folder,
    print_table,
    run_main,
    save_json,
    seed_everything,
)

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
import random
from pathlib import Path

import torch
from reward.judge import judge_reply
from reward.preferences import asked_items
from rl.ppo_loop import PPO
from rl.ppo_settings import PPOSettings
from rl.quality_report import LONGEST, reply_logp
from rl.rollout import roll_out
from rl.scoring import load_source
from run import plotting
from run.checkpoint import load_checkpoint
from sft.chat_format import decode_reply, encode_prompt, messages_of
from train_ppo import REWARD, REWARD_WITH, SFT, SFT_WITH, WITHOUT, world_prompts

KINDS = {"sharpness": "sharpness, one number", "last": "gain of the last norm",
         "gains": "gains of the other norms", "attention": "attention matrices",
         "mlp": "MLP matrices", "embedding": "token embedding"}
CONTENT = {"new_items": "new to both", "validation": "pairs seen by the reward model"}


def kind_of(name: str) -> str | None:
    """Which of KINDS a parameter of the policy belongs to; None: the value head."""
    if name.startswith("value_head"):
        return None
    for part in ("sharpness", "embedding"):
        if part in name:
            return part
    if name == "body.norm.weight":
        return "last"
    return "gains" if "norm" in name else "attention" if "attention" in name else "mlp"


def signal_share(total: torch.Tensor, squares: float, n: int) -> float:
    """Sum of n gradients and the sum of their squared lengths -> the share of a squared length that
    they have in common: mean of g_i · g_j over i ≠ j, over the mean of g_i · g_i (eq. 8.18)."""
    return (float(total.square().sum()) - squares) / (n - 1) / max(squares, 1e-30)


def signal_shares(ppo: PPO, prompts: list, batches: int, seed: int) -> dict[str, float]:
    """Kind of parameter -> its signal share in the gradient of one rollout."""
    totals, squares = {}, dict.fromkeys(KINDS, 0.0)
    each = ppo.settings.prompts
    for batch in range(batches):
        generator = torch.Generator().manual_seed(1_000_003 * seed + batch)
        rollout = ppo.sample(prompts[batch * each:(batch + 1) * each], generator)
        order = ppo.pass_over(rollout.rows, generator)
        experience = ppo.advantage(rollout, ppo.score(rollout).float(), order)
        for part in order:
            ppo.gradient(experience, part)
        ppo.policy.sharpness.gather()
        for name, parameter in ppo.policy.named_parameters():
            kind = kind_of(name)
            if kind and parameter.grad is not None:
                found = parameter.grad.detach().float().cpu()
                totals[name] = totals.get(name, 0.0) + found
                squares[kind] += float(found.square().sum())
        ppo.optimizer.zero_grad(set_to_none=True)
    return {kind: signal_share(torch.cat([x.flatten() for name, x in totals.items()
                                          if kind_of(name) == kind]), squares[kind], batches)
            for kind in KINDS}


@torch.inference_mode()
def knowledge(model, source, asked: list, tokenizer, runtime, *, copies: int, seed: int) -> dict:
    """Among replies to one prompt, every right one against every wrong one -> how many pairs, and
    the shares in which the right one is `preferred` by score and `likelier` under the model."""
    prompts = [encode_prompt(messages_of(item), tokenizer) for item in asked]
    rollout = roll_out(model, prompts, LONGEST, end=tokenizer.end, pad=tokenizer.pad, copies=copies,
                       runtime=runtime, generator=torch.Generator().manual_seed(seed))
    likely, scores = reply_logp(model, rollout, runtime), source(rollout).float()
    texts = [decode_reply(reply, tokenizer) for reply in rollout.replies()]
    right = torch.tensor([judge_reply(asked[i // copies], text).right
                          for i, text in enumerate(texts)])
    scores, likely, right = (x.view(len(asked), copies) for x in (scores, likely, right))
    pairs = right[:, :, None] & ~right[:, None]  # (P, copies, copies): right against wrong
    count = int(pairs.sum())

    def share(x: torch.Tensor) -> float:
        return float((x[:, :, None] > x[:, None])[pairs].float().mean()) if count else 0.5

    return {"pairs": count, "preferred": share(scores), "likelier": share(likely)}


def draw(shares: dict, known: dict, path: Path, setup: str) -> None:
    new = known["new_items"]
    fig, (left, right) = plotting.figure(
        f"Sharpness is {shares['sharpness']:.0%} signal, matrices {shares['mlp']:.0%}; on new content "
        f"the score finds {new['preferred']:.0%} of the right replies, the policy "
        f"{new['likelier']:.0%}", setup, 2)
    places = range(len(shares))[::-1]
    left.barh(places, list(shares.values()), 0.6, color=plotting.BLUE)
    for place, value in zip(places, shares.values()):
        left.text(max(value, 0.0), place, f" {value:.1%}", va="center", fontsize=8)
    left.set_yticks(places, [KINDS[kind] for kind in shares], fontsize=8)
    left.set(xlabel="share of one rollout's gradient that is signal")
    left.margins(x=0.2)
    for shift, key, name, color in ((-0.2, "preferred", "score", plotting.ORANGE),
                                    (0.2, "likelier", "policy", plotting.BLUE)):
        values = [found[key] for found in known.values()]
        right.bar([place + shift for place in range(len(values))], values, 0.36, color=color)
        for place, value in enumerate(values):
            right.text(place + shift, value, f"{name}\n{value:.0%}", ha="center", va="bottom",
                       fontsize=8)
    right.axhline(0.5, color=plotting.GREY, lw=0.8, ls="--")
    right.set_xticks(range(len(known)), [CONTENT[split].replace("seen by", "seen\nby")
                                         for split in known], fontsize=8)
    right.set(ylabel="right reply put before a wrong one", ylim=(0.45, 1.05))
    plotting.save(fig, path)


def parse_args(argv=None):
    parser = make_parser(__doc__)
    parser.add_argument("--sft", type=Path, default=SFT,
                        help="the tuned model (default: part_6/out/sft.pt)")
    parser.add_argument("--reward", type=Path, default=REWARD,
                        help="the reward model (default: part_7/out/reward.pt)")
    parser.add_argument("--batches", type=int, default=12,
                        help="rollouts, at least 2 (default: 12)")
    parser.add_argument("--prompts", type=int, default=64, help="in each of them (default: 64)")
    parser.add_argument("--asked", type=int, default=500,
                        help="prompts of each kind on the right (default: 500)")
    parser.add_argument("--copies", type=int, default=6, help="replies to each (default: 6)")
    return parser.parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    if args.batches < 2 or args.prompts < 1 or args.asked < 1 or args.copies < 2:
        raise ValueError(f"--batches {args.batches} and --copies {args.copies} must be at least 2, "
                         f"--prompts {args.prompts} and --asked {args.asked} at least 1")
    body, tokenizer, _ = load_checkpoint(args.sft, make_with=SFT_WITH)
    runtime = choose_runtime(args.device, args.amp, width=body.config.n_embd)
    source = load_source(args.reward, tokenizer, runtime, REWARD_WITH)
    seed_everything(args.seed)
    settings = PPOSettings(prompts=args.prompts, copies=4, minibatch=4 * args.prompts,
                           micro_rows=4 * args.prompts if args.prompts % 8 else 32)
    prompts = world_prompts(args.batches * args.prompts, args.seed, tokenizer, settings.unseen)
    random.Random(f"signal {args.seed}").shuffle(prompts)
    ppo = PPO(body.to(runtime.device), source, settings, end=tokenizer.end, pad=tokenizer.pad,
              runtime=runtime, seed=args.seed)
    shares = signal_shares(ppo, prompts, args.batches, args.seed)
    print_table(["of the gradient of", "signal"], [[KINDS[kind], f"{share:.1%}"]
                                                   for kind, share in shares.items()],
                f"{args.batches} rollouts of {4 * args.prompts} replies")
    known = {}
    for split in CONTENT:
        asked = [item for item in asked_items(2 * args.asked, split, args.seed + 6000)
                 if item.skill not in WITHOUT][:args.asked]
        known[split] = knowledge(body, source, asked, tokenizer, runtime, copies=args.copies,
                                 seed=args.seed)
    print_table(["content", "pairs", "right one scored higher", "right one likelier"],
                [[CONTENT[split], found["pairs"], found["preferred"], found["likelier"]]
                 for split, found in known.items()],
                f"{args.asked} prompts x {args.copies} replies: each right one against each wrong one")
    out = out_folder(__file__, args.out)
    save_json(out / "signal.json", {"signal": shares, "knowledge": known})
    draw(shares, known, out / "signal.png",
         f"{args.batches} rollouts of {4 * args.prompts} replies; {args.asked} prompts x "
         f"{args.copies} replies of each kind; seed {args.seed}")


if __name__ == "__main__":
    run_main(main)
