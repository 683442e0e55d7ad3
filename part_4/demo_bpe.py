"""What does BPE learn, how much shorter does it make a text, and do the two trainers agree?

    python part_4/demo_bpe.py [--quick]

Trains on Python's own standard library, which every machine has, and measures on the half
megabyte that follows. Prints the first merges, checks the fast trainer against the plain one, and
draws bytes per token against the size of the vocabulary.
See: the first merges are runs of spaces and pieces of common words. Each doubling of the vocabulary
makes the text shorter, by less each time, and costs twice the rows in the embedding.
"""

from run.runtime import make_parser, out_folder, print_table, run_main

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
import time

from benchmark_bpe import library_text
from run.plotting import BLUE, figure, save
from text.bpe import token_bytes, train_plain
from text.bpe_fast import train_bpe
from text.tokenizer import Tokenizer

TRAIN_BYTES, TEST_BYTES = 2_000_000, 500_000
SIZES = (256, 512, 1024, 2048, 4096, 8192)


def show_first_merges(merges, how_many=12):
    tokens = token_bytes(merges)
    rows = [[256 + k, repr(tokens[a].decode("utf-8", "replace")),
             repr(tokens[b].decode("utf-8", "replace")),
             repr(tokens[256 + k].decode("utf-8", "replace"))]
            for k, (a, b) in enumerate(merges[:how_many])]
    print_table(["id", "left", "right", "token"], rows, "The first merges")


def compare_trainers(text, vocab_size):
    """The two trainers on one text -> (are the merges the same?, seconds plain, seconds fast)."""
    start = time.perf_counter()
    plain = train_plain(text, vocab_size)
    middle = time.perf_counter()
    fast = train_bpe(text, vocab_size)
    return plain == fast, middle - start, time.perf_counter() - middle


def measure_compression(merges, test, sizes):
    """Rows of (vocabulary, tokens, bytes per token): the first merges are a smaller vocabulary."""
    size = len(test.encode("utf-8"))
    rows = []
    for vocab in sizes:
        tokenizer = Tokenizer.from_merges(merges[: vocab - 256], special=())
        tokens = len(tokenizer.encode(test))
        rows.append([vocab, tokens, size / tokens])
    return rows


def draw(rows, folder, train_bytes):
    first, last = rows[0], rows[-1]
    fig, ax = figure(
        f"{last[0]:,} tokens: the text is {last[2]:.1f} times shorter; "
        f"the last doubling gave {100 * (last[2] / rows[-2][2] - 1):.0f}%",
        f"Python's standard library, {train_bytes / 1e6:g} MB to learn from, measured on "
        f"the {first[1] / 1e6:.1f} MB after it")
    x, y = [row[0] for row in rows], [row[2] for row in rows]
    ax.plot(x, y, "o-", color=BLUE)
    for vocab, _, ratio in rows:
        ax.annotate(f"{ratio:.2f}", (vocab, ratio), xytext=(0, 7), textcoords="offset points",
                    ha="center", fontsize=8, color=BLUE)
    ax.set_xscale("log", base=2)
    ax.set_xticks(x, [f"{vocab:,}" for vocab in x])
    ax.minorticks_off()
    ax.set_ylim(0, 1.15 * max(y))
    ax.set_xlabel("vocabulary (256 bytes and the merges)")
    ax.set_ylabel("bytes per token")
    return save(fig, folder / "bpe.png")


def parse_args(argv=None):
    parser = make_parser(__doc__, runs_model=False)
    parser.add_argument("--quick", action="store_true", help="a tenth of the text (default: all)")
    return parser.parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    folder = out_folder(__file__, args.out)
    train_bytes = TRAIN_BYTES // (10 if args.quick else 1)
    sizes = SIZES[:4] if args.quick else SIZES
    text = library_text(TRAIN_BYTES + TEST_BYTES)
    train, test = text[:train_bytes], text[TRAIN_BYTES:]

    start = time.perf_counter()
    merges = train_bpe(train, sizes[-1])
    seconds = time.perf_counter() - start
    show_first_merges(merges)

    same, plain, fast = compare_trainers(train[:20_000], 300)
    if not same:
        raise ValueError("the fast trainer's merges differ from the plain one's: a bug")
    print(f"\n20 kB, 300 tokens: plain {plain:.2f} s, fast {fast:.4f} s, the same merges: yes"
          f"\n{train_bytes / 1e6:g} MB, {sizes[-1]:,} tokens: fast {seconds:.2f} s")

    rows = measure_compression(merges, test, sizes)
    print_table(["vocabulary", "tokens", "bytes per token"], rows, "Text that was not trained on")
    draw(rows, folder, train_bytes)


if __name__ == "__main__":
    run_main(main)
