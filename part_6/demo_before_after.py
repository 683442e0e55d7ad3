"""What has tuning changed? The same twelve questions to the base model and the tuned one.

    python part_6/demo_before_after.py

See   The base model goes on with the text; the tuned one answers, and stops.
"""

from run.runtime import choose_runtime, here, make_parser, out_folder, print_table, run_main

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
from pathlib import Path

from run import plotting
from run.checkpoint import load_checkpoint
from sft.chat_format import chat_tokenizer, grow_vocabulary
from sft.evaluation import MAKE_WITH, answer_items
from sft.skills import SKILLS, check, items
from sft.small_base import RANDOM_WEIGHTS, add_base_flag, base_from

LEFT_OUT = ("telling a story", "story questions", "remembering names")  # too long for a table


def parse_args(argv=None):
    parser = make_parser(__doc__, seed=2)
    parser.add_argument("--checkpoint", type=Path, default=None,
                        help="the model after (default: out/sft.pt beside the script)")
    add_base_flag(parser)
    parser.add_argument("--quick", action="store_true",
                        help="random weights: does the demo run? (default: off)")
    return parser.parse_args(argv)


def short(text: str, width: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= width else text[:width - 1] + "…"


def main(argv=None):
    args = parse_args(argv)
    out = out_folder(__file__, args.out)
    names = [name for name in SKILLS if name not in LEFT_OUT]
    asked = [items(1, "new_items", seed=args.seed, skills=(name,))[0] for name in names[:12]]
    said = {}
    base, base_tokenizer, note = base_from(args)
    if note == RANDOM_WEIGHTS and args.checkpoint is None:
        tokenizer = chat_tokenizer(base_tokenizer)
        tuned = grow_vocabulary(base, tokenizer.vocab_size)
    else:
        path = args.checkpoint or here(__file__) / "out" / "sft.pt"
        tuned, tokenizer, _ = load_checkpoint(path, make_with=MAKE_WITH)
    for name, model, own in (("base", base, base_tokenizer), ("tuned", tuned, tokenizer)):
        runtime = choose_runtime(args.device, args.amp, width=model.config.n_embd,
                                 quiet=name == "tuned")
        model.to(runtime.device)
        said[name] = answer_items(model, own, asked, runtime)
    table = [[short(f"{item.system} {item.prompt}", 52), short(before.text, 34),
              short(after.text, 34), check(item, after.text)]
             for item, before, after in zip(asked, said["base"], said["tuned"])]
    print_table(["asked", "base model", "tuned model", "right"],
                [[*row[:3], "yes" if row[3] else "no"] for row in table], "Twelve new items")
    right = {name: sum(check(i, r.text) for i, r in zip(asked, replies))
             for name, replies in said.items()}
    ended = sum(r.ended for r in said["tuned"])
    fig, ax = plotting.figure(
        f"Of twelve questions the base model answers {right['base']}, the tuned one "
        f"{right['tuned']}; {ended} of its answers stop by themselves",
        f"new items, greedy, {note}", size=(7, 4.4))
    ax.axis("off")
    cells = [[row[0], row[1], row[2]] for row in table]
    drawn = ax.table(cells, colLabels=["asked", "base model", "tuned model"], loc="center",
                     cellLoc="left", colWidths=[0.46, 0.27, 0.27])
    drawn.auto_set_font_size(False)
    drawn.set_fontsize(6.5)
    drawn.scale(1, 1.35)
    for (row, column), cell in drawn.get_celld().items():
        cell.set_edgecolor("#DDDDDD")
        if row == 0:
            cell.set_text_props(weight="bold")
        elif column == 2:
            cell.set_text_props(color=plotting.GREEN if table[row - 1][3] else plotting.RED)
    plotting.save(fig, out / "before_after.png")


if __name__ == "__main__":
    run_main(main)
