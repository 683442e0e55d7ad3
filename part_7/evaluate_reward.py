"""What is a reward model worth? Accuracy, calibration and rank correlation on held-out pairs.

    python part_7/evaluate_reward.py                         out/reward.pt on the world
    python part_7/evaluate_reward.py --data pairs.jsonl.gz   on chosen/rejected records of your own

The world's pairs are made anew: content never trained on, replies drawn from the tuned model, a
tenth of the labels flipped (so that no model can be right on all of them, eq. 7.2). And of several
replies of the tuned model it picks one: how good is that? That is what part 8 lives on. Writes
out/evaluate_reward.json and a picture of the calibration.
"""

from run.runtime import choose_runtime, here, make_parser, out_folder, run_main, save_json

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
from pathlib import Path

from reward.checkpoint import load_reward
from reward.own_pairs import usable_pairs
from reward.preferences import FLIPPED
from reward.report import draw_calibration, measure, own_choice, show
from reward.sources import RewardData, draw_replies, held_out_data
from run.checkpoint import load_checkpoint

SFT = here(__file__).parent / "part_6" / "out" / "sft.pt"
SFT_WITH = "python part_6/train_sft.py (about 4 minutes)"
MAKE_WITH = "python part_7/train_reward.py (about 3 minutes)"


def parse_args(argv=None):
    parser = make_parser(__doc__, seed=7)
    parser.add_argument("--checkpoint", type=Path, default=here(__file__) / "out" / "reward.pt",
                        help="the reward model (default: out/reward.pt beside the script)")
    parser.add_argument("--sft", type=Path, default=SFT,
                        help="whose replies are compared (default: part_6/out/sft.pt)")
    parser.add_argument("--items", type=int, default=300,
                        help="held-out instructions (default: 300)")
    parser.add_argument("--pick", type=int, default=6,
                        help="replies of the tuned model to each, to pick one of; 0: none "
                             "(default: 6)")
    parser.add_argument("--data", type=Path, default=None,
                        help="chosen/rejected records, .json, .jsonl, .gz (default: the world)")
    return parser.parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    if args.items < 1 or args.pick < 0 or args.pick == 1:
        raise ValueError(f"--items {args.items} must be at least 1, --pick {args.pick} 0, or at "
                         "least 2")
    out = out_folder(__file__, args.out)
    model, tokenizer, _ = load_reward(args.checkpoint, MAKE_WITH)
    runtime = choose_runtime(args.device, args.amp, width=model.config.n_embd)
    model.to(runtime.device)
    if args.data:
        data = RewardData([], usable_pairs(args.data, tokenizer, model.config.block_size),
                          about={"file": args.data.name})
    else:
        sft, own, _ = load_checkpoint(args.sft, make_with=SFT_WITH)
        if own.fingerprint != tokenizer.fingerprint:
            raise ValueError(f"{args.sft}: its tokenizer is not that of {args.checkpoint}; make "
                             f"the reward model from it with: {MAKE_WITH}")
        data = held_out_data(sft.to(runtime.device), own, runtime, items=args.items,
                             seed=args.seed, flipped=FLIPPED)
    metrics, points, _ = measure(model, tokenizer, runtime, data, args.seed)
    if data.asked and args.pick:
        replies = draw_replies(sft, own, data.asked, runtime, each=args.pick, seed=args.seed + 1)
        metrics |= own_choice(model, tokenizer, runtime, data.asked, replies)
    draw_calibration(points, metrics, out / "calibration.png")
    save_json(out / "evaluate_reward.json", metrics)
    show(metrics, f"{args.checkpoint} on {args.data or 'the world'}, seed {args.seed}")


if __name__ == "__main__":
    run_main(main)
