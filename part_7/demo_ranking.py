"""Twenty replies to one question: does the reward model rank them as the judge does?

    python part_7/demo_ranking.py
    python part_7/demo_ranking.py --seed 5

See   For each of twenty held-out questions the gold reply, faults worked into it, and replies of
      other questions: the rank correlation of score and true quality. The table and the left panel
      show the question in the middle, neither the best nor the worst.
"""

from run.runtime import make_parser, out_folder, print_table, run_main

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
import random
from statistics import mean

from reward.faults import HELD_OUT, TRAINED, Reply, degraded, spoil
from reward.judge import quality
from reward.preferences import asked_items
from reward.scores import spearman
from reward.untrained import add_checkpoint_flag, scorer_from
from run import plotting


def parse_args(argv=None):
    parser = make_parser(__doc__, seed=3)
    add_checkpoint_flag(parser)
    parser.add_argument("--quick", action="store_true",
                        help="a small model with random weights: does the demo run? "
                             "(default: off)")
    return parser.parse_args(argv)


def twenty(item, rng: random.Random) -> list[tuple[str, Reply]]:
    """Twenty different replies: (what was done to it, reply)."""
    replies = {item.answer: ("gold", Reply(item.answer))}
    for reply in degraded(item, rng)[1:]:
        replies.setdefault(reply.text, ("made worse", reply))
    while len(replies) < 20:
        fault = rng.choice(TRAINED + HELD_OUT)
        reply = spoil(fault, item, rng)
        replies.setdefault(reply.text, (fault, reply))
    return list(replies.values())


def main(argv=None):
    args = parse_args(argv)
    out = out_folder(__file__, args.out)
    scorer, note = scorer_from(args)
    asked = [item for item in asked_items(80, "new_items", args.seed)
             if not item.history and len(item.answer) < 60 and len(item.prompt) < 80][:20]
    ranked = []
    for item in asked:
        replies = twenty(item, random.Random(args.seed))
        scores = scorer([item] * len(replies), [reply for _, reply in replies])
        true = [quality(item, reply.text, reply.ended) for _, reply in replies]
        ranked.append((spearman(scores, true), item, replies, scores, true))
    ranked.sort(key=lambda entry: entry[0])
    ranks = [entry[0] for entry in ranked]
    rank, item, replies, scores, true = ranked[len(ranked) // 2]
    order = sorted(range(len(replies)), key=lambda i: -scores[i])
    print_table(["score", "judge", "what it is", "reply"],
                [[scores[i], true[i], replies[i][0], replies[i][1].text[:70]] for i in order],
                f"{item.prompt}   (rank correlation {rank:.2f}; twenty questions: mean "
                f"{mean(ranks):.2f}, {ranks[0]:.2f} to {ranks[-1]:.2f})")
    fig, (left, right) = plotting.figure(
        f"Twenty replies to a question: rank correlation with the judge {mean(ranks):.2f} in the "
        f"mean of {len(ranks)} questions", f"left: {item.prompt[:60]}  {note}", panels=2)
    left.scatter(true, scores, color=plotting.BLUE, s=18)
    left.annotate("gold", (true[0], scores[0]), xytext=(-8, 6), textcoords="offset points",
                  ha="right", fontsize=8)
    left.set(xlabel="true quality (the judge)", ylabel="score, standard deviations")
    right.barh(range(len(ranks)), ranks, color=plotting.SKY)
    right.axvline(mean(ranks), color=plotting.BLUE, lw=0.8, ls="--")
    right.grid(True, axis="x")
    right.grid(False, axis="y")
    right.set_yticks([])
    right.set_xticks((-1, -0.5, 0, 0.5, 1))
    right.set(xlabel="rank correlation", ylabel="question, from worst to best", xlim=(-1, 1))
    plotting.save(fig, out / "ranking.png")


if __name__ == "__main__":
    run_main(main)
