"""How well does a model follow instructions? Right answers by checker, per skill and per split.

    python part_6/evaluate.py                                out/sft.pt on all splits
    python part_6/evaluate.py --checkpoint part_4/out/base.pt    a base model, asked in plain text
    python part_6/evaluate.py --data chats.jsonl             exact match and F1 on files of your own

Rule   "answer right" asks the checker after all that is only manner was taken off (sft/manners.py): how
       somebody answers is not what tuning is to teach. "exact match" asks it about the reply as it is.
How replies are drawn and counted: sft/evaluation.py.
"""

from run.runtime import (
    choose_runtime,
    here,
    make_parser,
    out_folder,
    print_table,
    run_main,
    save_json,
)

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
from pathlib import Path

from files.own_files import room_for_answers
from run.checkpoint import load_checkpoint
from run.thrift import rounded_once
from sft.chat_format import Message, read_chats
from sft.evaluation import (
    MAKE_WITH,
    answer_items,
    answers_rightly,
    is_chat_model,
    reply_to,
    score_items,
    skill_table,
    token_f1,
    wilson,
)
from sft.skills import TEST_SPLITS, items, normalise


def on_conversations(model, tokenizer, runtime, path: Path, show: int,
                     longest: int | None = None) -> None:
    """Exact match and F1 on the last answers of conversations from a file."""
    reading = read_chats(path)
    print("\n".join(reading.lines()))
    conversations = [[Message(*turn) for turn in shaped.turns] for shaped in reading.kept]
    gold = [c[-1].content for c in conversations]
    replies = reply_to(model, tokenizer, [c[:-1] for c in conversations], runtime,
                       longest=longest or room_for_answers(gold, tokenizer))
    exact = sum(normalise(r.text) == normalise(g) for r, g in zip(replies, gold))
    f1 = sum(token_f1(r.text, g) for r, g in zip(replies, gold)) / len(gold)
    low, high = wilson(exact, len(gold))
    print_table(["conversations", "exact match", "95% from", "to", "F1", "stopped by itself"],
                [[len(gold), exact / len(gold), low, high, f1,
                  sum(r.ended for r in replies) / len(gold)]])
    for messages, reply in list(zip(conversations, replies))[:show]:
        print(f"\nasked   {messages[-2].content}\ngold    {messages[-1].content}\n"
              f"said    {reply.text}")


def parse_args(argv=None):
    parser = make_parser(__doc__, seed=1)
    parser.add_argument("--checkpoint", type=Path, default=here(__file__) / "out" / "sft.pt",
                        help="the model (default: out/sft.pt beside the script)")
    parser.add_argument("--items", type=int, default=400,
                        help="questions of each split (default: 400)")
    parser.add_argument("--splits", nargs="+", choices=TEST_SPLITS, default=TEST_SPLITS,
                        help="what is new in the questions (default: all three, one at a time)")
    parser.add_argument("--data", type=Path, default=None,
                        help="Alpaca, ShareGPT, messages or prompt/completion records instead "
                             "(default: the world's skills)")
    parser.add_argument("--longest", type=int, default=None,
                        help="most tokens of a reply to --data (default: half as many again as its "
                             "longest answer has)")
    parser.add_argument("--show", type=int, default=5,
                        help="how many wrong answers to show (default: 5)")
    return parser.parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    if args.items < 1 or (args.longest is not None and args.longest < 1):
        raise ValueError(f"--items {args.items} and --longest {args.longest}: must be at least 1")
    if args.show < 0:
        raise ValueError(f"--show {args.show}: must not be below 0")
    out = out_folder(__file__, args.out)
    model, tokenizer, _ = load_checkpoint(args.checkpoint, make_with=MAKE_WITH)
    runtime = choose_runtime(args.device, args.amp, width=model.config.n_embd)
    rounded_once(model, runtime)
    if args.data:
        if not is_chat_model(tokenizer):
            raise ValueError(f"{args.checkpoint} knows no roles; make a chat model with: "
                             f"{MAKE_WITH}")
        on_conversations(model, tokenizer, runtime, args.data, args.show, args.longest)
        return
    scores, wrong = {}, []
    for split in args.splits:
        asked = items(args.items, split, seed=args.seed)
        replies = answer_items(model, tokenizer, asked, runtime)
        scores[split] = score_items(asked, replies)
        wrong += [(i, r) for i, r in zip(asked, replies) if not answers_rightly(i, r.text)][:args.show]
    print_table(["skill", *scores], skill_table(scores),
                f"{args.checkpoint}: share of right answers, {args.items} questions a split")
    for item, reply in wrong:
        print(f"wrong   {item.system} {item.prompt[-90:]!r} -> {reply.text[:90]!r}, "
              f"gold {item.answer[:60]!r}")
    save_json(out / "evaluate.json",
              {split: {"answer_right": s.answer_right, "exact_match": s.exact_match,
                       "interval": wilson(s.right, s.n), "end_rate": s.end_rate, "f1": s.f1,
                       "by_manner": s.by_manner,
                       "by_skill": {k: r / n for k, (r, n) in s.by_skill.items()}}
               for split, s in scores.items()})


if __name__ == "__main__":
    run_main(main)
