"""Which tokens are learnt from, and what happens if the end token is not one of them?

    python part_6/demo_label_mask.py
    python part_6/demo_label_mask.py --quick

See   A conversation, token by token: only the assistant's tokens, and the end after them, are
      labels. Then the same model is tuned three times: with the right labels, without the end
      token, and with the prompt's tokens as labels too.
"""

from run.runtime import choose_runtime, make_parser, out_folder, print_table, run_main

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
import torch
from run import plotting
from run.loop import train_step
from run.optim import make_optimizer
from run.schedule import Schedule
from sft.chat_format import answered, chat_tokenizer, encode_conversation, grow_vocabulary
from sft.data import ExampleRows, world_examples
from sft.evaluation import LONGEST_REPLY, answer_items, score_items
from sft.skills import items
from sft.small_base import add_base_flag, base_from
from text.rows import IGNORED

KINDS = ("answer and end", "answer, no end", "everything")


def show_labels(tokenizer, seed: int) -> None:
    """One conversation as a table: token, role, label."""
    item = next(i for i in items(50, seed=seed) if i.system and len(i.prompt) < 60)
    ids, is_label = encode_conversation(answered(item), tokenizer)
    rows = [[number, repr(tokenizer.decode([token])), "label" if label else "-"]
            for number, (token, label) in enumerate(zip(ids, is_label))]
    print_table(["place", "token", "learnt from?"], rows, "One conversation")


def labels_of(kind: str, ids, targets, tokenizer):
    """The targets under one of KINDS, from the right ones."""
    if kind == "answer, no end":
        return targets.masked_fill(targets == tokenizer.end, IGNORED)
    if kind == "everything":
        after = torch.roll(ids, -1, dims=1)
        after[:, -1] = targets[:, -1]
        outside = (after == tokenizer.begin) | (after == tokenizer.pad)
        return torch.where((targets == IGNORED) & ~outside, after, targets)
    return targets


def tune(base, tokenizer, rows, kind, steps, runtime, seed):
    """A copy of the base model after `steps` steps on labels of one kind."""
    model = grow_vocabulary(base, tokenizer.vocab_size, seed)
    optimizer = make_optimizer(model, weight_decay=0.0, betas=(0.9, 0.98), muon=6.0)
    schedule, scaler = Schedule("cosine", 1.5e-3, 1e-4, 0.1), runtime.grad_scaler()
    model.train()
    for step in range(steps):
        ids, targets = rows.batch(step, 8)
        targets = labels_of(kind, ids, targets, tokenizer)
        train_step(model, optimizer, ids.to(runtime.device), targets.to(runtime.device),
                   runtime=runtime, scaler=scaler, rate=schedule.rate((step + 1) / steps),
                   begin=tokenizer.begin)
    return model


def parse_args(argv=None):
    parser = make_parser(__doc__)
    parser.add_argument("--steps", type=int, default=None,
                        help="steps of each tuning (default: 60; 6 with --quick)")
    add_base_flag(parser)
    parser.add_argument("--quick", action="store_true",
                        help="few steps: does the demo run? (default: off)")
    return parser.parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    out = out_folder(__file__, args.out)
    steps = (6 if args.quick else 60) if args.steps is None else args.steps
    if steps < 1:
        raise ValueError(f"--steps {steps}: must be at least 1")
    questions = 20 if args.quick else 120
    base, base_tokenizer, note = base_from(args)
    tokenizer = chat_tokenizer(base_tokenizer)
    runtime = choose_runtime(args.device, args.amp, width=base.config.n_embd)
    base.to(runtime.device)
    show_labels(tokenizer, args.seed)
    examples, _ = world_examples(60 * steps, args.seed, tokenizer, base.config.block_size,
                                 manners="gold")
    rows = ExampleRows(examples, base.config.block_size, pad=tokenizer.pad, seed=args.seed)
    asked = items(questions, "new_items", seed=args.seed, left_out=("telling a story",))
    table = []
    for kind in KINDS:
        model = tune(base, tokenizer, rows, kind, steps, runtime, args.seed)
        replies = answer_items(model, tokenizer, asked, runtime)
        score = score_items(asked, replies)
        length = sum(len(r.ids) for r in replies) / len(replies)
        table.append([kind, score.exact_match, score.end_rate, length])
    print_table(["labels", "right", "stopped by itself", "tokens a reply"], table,
                f"After {steps} steps, {len(asked)} new items")
    ends = {row[0]: row[2] for row in table}
    fig, axes = plotting.figure(
        f"With the end token as a label {ends[KINDS[0]]:.0%} of answers stop by themselves, "
        f"without it {ends[KINDS[1]]:.0%}",
        f"{base.count_parameters() / 1e6:.1f}M parameters, {steps} steps each, {len(asked)} new "
        f"items, at most {LONGEST_REPLY} tokens a reply, {note}", panels=2)
    colors = (plotting.BLUE, plotting.ORANGE, plotting.GREEN)
    for ax, place, name in ((axes[0], 2, "share that stopped by itself"),
                            (axes[1], 1, "share right")):
        bars = ax.bar([row[0] for row in table], [row[place] for row in table], color=colors)
        ax.bar_label(bars, fmt="%.2f", fontsize=8)
        ax.set(ylabel=name, ylim=(0, 1.08))
        ax.tick_params(axis="x", labelsize=8)
    plotting.save(fig, out / "label_mask.png")


if __name__ == "__main__":
    run_main(main)
