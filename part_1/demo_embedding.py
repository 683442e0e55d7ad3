"""How does text become something that a network can compute with?

    python part_1/demo_embedding.py

Cuts a text into tokens (letters here), numbers them, and looks up a row of the embedding table for each
number. To see: the same letter gets the same row wherever it stands; looking up is the same as multiplying
by a row that is 0 everywhere but at the letter's number; and that a row is trained like any weight.
"""

from runtime import make_parser, out_folder, print_table, run_main, seed_everything

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
import plotting
import torch
from matplotlib.patches import Rectangle
from model import GPT, GPTConfig
from toy_text import TOY_TEXT, Vocabulary

TEXT, WIDTH = "a goat", 8


def embed(model: GPT, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """ids (T,) -> the rows (T, C) looked up, and the same by a product with one-hot rows."""
    table = model.token_embedding.weight  # (V, C)
    one_hot = torch.nn.functional.one_hot(ids, len(table)).to(table.dtype)  # (T, V)
    return table[ids], one_hot @ table


def rows_with_gradient(model: GPT, ids: torch.Tensor) -> list[int]:
    """The rows of the table that a step on this text would change."""
    model.zero_grad()
    model.token_embedding(ids).sum().backward()
    return model.token_embedding.weight.grad.abs().sum(1).nonzero().flatten().tolist()


def draw(path, text: str, ids: torch.Tensor, rows: torch.Tensor, size: int, setup: str) -> None:
    """Three lines one below the other: letters, numbers, columns of numbers."""
    again = next(letter for letter in text if text.count(letter) > 1)
    fig, ax = plotting.figure(f"{len(text)} letters, {len(text)} numbers, {len(text)} rows of a table of "
                              f"{size}: both '{again}' get the same row", setup, size=(7, 4.4))
    top = float(rows.abs().max())
    colors = plotting.matplotlib.colormaps["RdBu"]
    for i, (letter, number) in enumerate(zip(text, ids.tolist())):
        for y, word, color in ((WIDTH + 3.2, letter.replace(" ", "␣"), plotting.SKY),
                               (WIDTH + 1.4, str(number), plotting.YELLOW)):
            ax.add_patch(Rectangle((2 * i, y), 1.4, 1, facecolor=color, alpha=0.5, edgecolor=plotting.GREY))
            ax.text(2 * i + 0.7, y + 0.5, word, ha="center", va="center", fontsize=10)
        for y0, y1 in ((WIDTH + 3.2, WIDTH + 2.5), (WIDTH + 1.4, WIDTH + 0.6)):
            ax.annotate("", (2 * i + 0.7, y1), (2 * i + 0.7, y0), arrowprops={"arrowstyle": "->"})
        for c, value in enumerate(rows[i].tolist()):
            ax.add_patch(Rectangle((2 * i, WIDTH - 1 - c), 1.4, 0.95,
                                   facecolor=colors(0.5 + 0.4 * value / top)))
            ax.text(2 * i + 0.7, WIDTH - 0.5 - c, f"{value:+.2f}", ha="center", va="center", fontsize=7)
    for y, name in ((WIDTH + 3.7, "text"), (WIDTH + 1.9, "ids (T,)"), (WIDTH / 2, "x = E[ids]\n(T, C)")):
        ax.text(-0.4, y, name, ha="right", va="center", fontsize=9)
    ax.set(xlim=(-2.6, 2 * len(text)), ylim=(-0.2, WIDTH + 4.4))
    ax.axis("off")
    plotting.save(fig, path)


def parse_args(argv=None):
    return make_parser(__doc__, runs_model=False).parse_args(argv)


def main(argv=None) -> None:
    args = parse_args(argv)
    folder = out_folder(__file__, args.out)
    seed_everything(args.seed)
    vocabulary = Vocabulary(TOY_TEXT)
    model = GPT(GPTConfig(vocab_size=len(vocabulary), n_layer=1, n_head=2, n_embd=WIDTH))
    ids = vocabulary.encode(TEXT)
    rows, products = (x.detach() for x in embed(model, ids))
    print_table(["place", "letter", "id", "row of the table: its first 4 of 8 numbers"],
                [[str(place), repr(letter), str(number), "  ".join(f"{v:+.4f}" for v in row[:4])]
                 for place, (letter, number, row) in enumerate(zip(TEXT, ids.tolist(), rows.tolist()))])
    print_table(["what", "value"],
                [["letters in the vocabulary, V", str(len(vocabulary))],
                 ["numbers in the table, V times C", str(rows.size(1) * len(vocabulary))],
                 ["looked up against one-hot product", f"{(rows - products).abs().max():.0e}"],
                 ["rows that a step on this text changes",
                  f"{len(rows_with_gradient(model, ids))} of {len(vocabulary)}"]])
    draw(folder / "embedding.png", TEXT, ids, rows, len(vocabulary),
         f"the toy text's {len(vocabulary)} letters, width C = {WIDTH}, before training, seed {args.seed}; "
         "a row of the table stands upright here")


if __name__ == "__main__":
    run_main(main)
