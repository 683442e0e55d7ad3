"""Score a reply: higher is better; 0 is the mean of the tuned model's own replies, or of its file's.

    python part_7/score.py --prompt "What is 3 + 4?" --reply "7"
    python part_7/score.py --prompt "What is 3 + 4?" --reply "7" --reply "8" --by-token
"""

from run.runtime import choose_runtime, here, make_parser, print_table, run_main

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
from pathlib import Path

import torch
from reward.checkpoint import load_reward
from reward.faults import Reply
from reward.model import encode_reply, score_rows
from sft.chat_format import Message

MAKE_WITH = "python part_7/train_reward.py (about 3 minutes)"


def whose(content: dict) -> str:
    """The replies that the model's mean and deviation were measured on."""
    file = content["metrics"].get("file")
    return f"the replies in {file}" if file else "the tuned model's own replies"


def parse_args(argv=None):
    parser = make_parser(__doc__)
    parser.add_argument("--checkpoint", type=Path, default=here(__file__) / "out" / "reward.pt",
                        help="the reward model (default: out/reward.pt beside the script)")
    parser.add_argument("--prompt", required=True, help="the question")
    parser.add_argument("--reply", required=True, action="append",
                        help="the answer; give it several times to compare")
    parser.add_argument("--system", default="", help="the system line (default: none)")
    parser.add_argument("--by-token", action="store_true",
                        help="also the score after each token of the replies (default: off)")
    return parser.parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    model, tokenizer, content = load_reward(args.checkpoint, MAKE_WITH)
    runtime = choose_runtime(args.device, "float32" if args.amp == "auto" else args.amp,
                             width=model.config.n_embd, quiet=True)
    model.to(runtime.device)
    prompt = [Message("system", args.system)] if args.system else []
    prompt.append(Message("user", args.prompt.lstrip()))
    rows = [encode_reply(prompt, Reply(text), tokenizer, model.config.block_size)
            for text in args.reply]
    scores = (score_rows(model, rows, tokenizer.pad, runtime) - content["mean"]) / content["std"]
    ranked = sorted(zip(scores.tolist(), args.reply), reverse=True)
    print_table(["score", "reply"], [[score, text] for score, text in ranked],
                f"{args.prompt}  (in standard deviations of {whose(content)})")
    if args.by_token and model.bidirectional:
        raise ValueError("--by-token needs a causal model: this one sees the whole reply at once")
    for text, row in zip(args.reply, rows) if args.by_token else ():
        ids = torch.tensor([row], device=runtime.device)
        with torch.no_grad():
            last = torch.tensor([len(row) - 1], device=ids.device)
            marks = model.token_scores(ids, last)[0].cpu()
        first = len(encode_reply(prompt, Reply("", ended=True), tokenizer,
                                 model.config.block_size)) - 1
        print_table(["token", "score so far"],
                    [[repr(tokenizer.decode([token])), (float(score) - content["mean"])
                      / content["std"]] for token, score in zip(row[first:], marks[first:])], text)


if __name__ == "__main__":
    run_main(main)
