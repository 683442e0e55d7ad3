"""How does the score move along a reply? A right one, a wrong one, a rude one, token by token.

    python part_7/demo_score_by_token.py

See   The score after every token. Only the last one counts in training (eq. 7.4); the rest shows
      from where on the wrong reply falls behind: what PPO's value head will have to learn.
"""

from run.runtime import make_parser, out_folder, print_table, run_main

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
import torch
from reward.faults import Reply
from reward.model import encode_reply
from reward.untrained import REWARD, add_checkpoint_flag, scorer_from
from run import plotting
from sft.chat_format import Message, encode_prompt

QUESTION = "What is 34 + 25?"
REPLIES = {"right": "30 + 20 = 50. 4 + 5 = 9. 50 + 9 = 59. The answer is 59.",
           "a slip": "30 + 20 = 50. 4 + 5 = 8. 50 + 8 = 58. The answer is 58.",
           "right but rude": "30 + 20 = 50. 4 + 5 = 9. 50 + 9 = 59. The answer is 59. "
                             "Everybody knows that."}


def parse_args(argv=None):
    parser = make_parser(__doc__)
    add_checkpoint_flag(parser)
    parser.add_argument("--quick", action="store_true",
                        help="a small model with random weights: does the demo run? "
                             "(default: off)")
    return parser.parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    out = out_folder(__file__, args.out)
    scorer, note = scorer_from(args)
    model, tokenizer, runtime = scorer.model, scorer.tokenizer, scorer.runtime
    if model.bidirectional:
        raise ValueError(f"{args.checkpoint or REWARD} sees the whole reply at once; a causal model "
                         "is needed: train without --bidirectional")
    prompt = [Message("user", QUESTION)]
    first = len(encode_prompt(prompt, tokenizer))
    curves = {}
    for name, text in REPLIES.items():
        row = encode_reply(prompt, Reply(text), tokenizer, model.config.block_size)
        with torch.no_grad():
            scores = model.token_scores(
                torch.tensor([row], device=runtime.device),
                torch.tensor([len(row) - 1], device=runtime.device))[0].cpu()
        curves[name] = ([tokenizer.decode([t]) for t in row[first:]],
                        scorer.scaled(scores[first:]))
    print_table(["reply", "score at its end"], [[name, c[1][-1]] for name, c in curves.items()],
                QUESTION)
    ends = {name: curve[1][-1] for name, curve in curves.items()}
    fig, ax = plotting.figure(
        f"At the end: right {ends['right']:.1f}, with a slip {ends['a slip']:.1f}, right but rude "
        f"{ends['right but rude']:.1f}", f"{QUESTION}  scores in standard deviations of the tuned "
        f"model's own replies; {note}")
    for (name, (tokens, scores)), color in zip(curves.items(), plotting.CYCLE):
        ax.plot(range(len(scores)), scores, color=color, marker="o", ms=2.5)
        plotting.end_label(ax, range(len(scores)), scores, name, color)
    tokens = curves["right but rude"][0]
    ax.set_xticks(range(len(tokens)), [t.strip() or "·" for t in tokens], fontsize=6, rotation=90)
    ax.set(xlabel="token, as in the rude reply", ylabel="score so far")
    plotting.save(fig, out / "score_by_token.png")


if __name__ == "__main__":
    run_main(main)
