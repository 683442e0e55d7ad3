"""What has tuning changed? The same twelve questions to the base model and the tuned one.

    python part_6/demo_before_after.py

See   The base model goes on with the text; the tuned one answers, and stops. "Right" is what the
      answer is after the manner was taken off, as in evaluate.py.
"""

from run.runtime import choose_runtime, here, make_parser, out_folder, print_table, run_main

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
import textwrap
from pathlib import Path

from run import plotting
from run.checkpoint import load_checkpoint
from sft.chat_format import chat_tokenizer, grow_vocabulary
from sft.evaluation import MAKE_WITH, answer_items, answers_rightly
from sft.skills import SKILLS, items
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


def wrapped(text: str, width: int) -> str:
    """At most two lines of a cell, cut between words."""
    return "\n".join(textwrap.wrap(text, width, max_lines=2, placeholder=" …"))


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
    is_right = {name: [answers_rightly(item, reply.text) for item, reply in zip(asked, replies)]
                for name, replies in said.items()}
    table = [[f"{item.system} {item.prompt}".strip(), before.text, after.text]
             for item, before, after in zip(asked, said["base"], said["tuned"])]
    print_table(["asked", "base model", "tuned model", "right"],
                [[*(textwrap.shorten(text, width, placeholder=" …") for text, width
                    in zip(row, (52, 34, 60))), "yes" if right else "no"]
                 for row, right in zip(table, is_right["tuned"])], "Twelve new items")
    ended = sum(reply.ended for reply in said["tuned"])
    draw(table, is_right, f"Of twelve questions the base model answers {sum(is_right['base'])}, the "
         f"tuned one {sum(is_right['tuned'])}, and {ended} times it stops by itself",
         f"new items, greedy, {note}; green: right, with the manner taken off",
         out / "before_after.png")


def draw(table: list, is_right: dict, title: str, setup: str, path: Path) -> None:
    fig, ax = plotting.figure(title, setup, size=(7, 5.4))
    ax.axis("off")
    cells = [[wrapped(text, width) for text, width in zip(row, (44, 28, 48))] for row in table]
    drawn = ax.table(cells, colLabels=["asked", "base model", "tuned model"], cellLoc="left",
                     bbox=(0, 0, 1, 1), colWidths=[0.38, 0.23, 0.39])
    drawn.auto_set_font_size(False)
    drawn.set_fontsize(6.5)
    for (row, column), cell in drawn.get_celld().items():
        cell.set_edgecolor("#DDDDDD")
        cell.PAD = 0.03
        if row == 0:
            cell.set_text_props(weight="bold")
        elif column:
            right = is_right[("base", "tuned")[column - 1]][row - 1]
            cell.set_text_props(color=plotting.GREEN if right else plotting.RED)
    plotting.save(fig, path)


if __name__ == "__main__":
    run_main(main)
