"""How fast are our BPE trainer and encoder, beside the plain one and Hugging Face's in Rust?

    python part_4/benchmark_bpe.py [--megabytes 5] [--vocab 4096]

The text is Python's own standard library, so every machine has it. Rounds are interleaved (each
method once, then all again) and the medians told, because machines are noisy. Hugging Face's rows
appear where its package `tokenizers` is installed; nothing here needs it.
See: the fast trainer makes the plain one's merges thousands of times faster, and is no slower than
the Rust one: the work is in what is not done twice, not in the language.
"""

from run.runtime import make_parser, out_folder, print_table, run_main, save_json

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
import os
import statistics
import sysconfig
import time
from pathlib import Path

from text.bpe import SPLIT, train_plain
from text.bpe_fast import count_chunks, train_bpe
from text.tokenizer import Tokenizer

PLAIN_BYTES, PLAIN_VOCAB = 20_000, 320  # the plain trainer gets a small piece: it would take hours


def library_text(size):
    """The first `size` bytes of Python's own library, file after file."""
    library = Path(sysconfig.get_path("stdlib"))
    files = [*sorted(library.glob("*.py")), *sorted(library.glob("[a-z]*/*.py"))]
    data = bytearray()
    for path in files:
        data += path.read_bytes()
        if len(data) >= size:
            break
    return bytes(data[:size]).decode("utf-8", errors="ignore")


def rust_trainer(vocab_size, threads):
    """Hugging Face's trainer with our splitting -> a function from texts to seconds, or None."""
    os.environ["RAYON_NUM_THREADS"] = str(threads)
    try:
        from tokenizers import Regex, models, pre_tokenizers, trainers
        from tokenizers import Tokenizer as RustTokenizer
    except ImportError:
        print("tokenizers is not installed: Hugging Face's rows are left out "
              "(pip install tokenizers)")
        return None

    def train(texts):
        rust = RustTokenizer(models.BPE())
        split = pre_tokenizers.Split(Regex(SPLIT), "isolated")
        to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        rust.pre_tokenizer = pre_tokenizers.Sequence([split, to_bytes])
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        rust.train_from_iterator(texts, trainers.BpeTrainer(
            vocab_size=vocab_size, initial_alphabet=alphabet, show_progress=False))
        return rust

    return train


def interleaved(methods, rounds):
    """{name: function} -> {name: seconds of each round}, the methods taking turns."""
    seconds = {name: [] for name in methods}
    for _ in range(rounds):
        for name, method in methods.items():
            start = time.perf_counter()
            method()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def row(name, seconds, megabytes, baseline=None):
    """One line of the table: the median, the rate, and the median of the ratios round by round."""
    ratio = statistics.median(b / s for b, s in zip(baseline, seconds)) if baseline else None
    median = statistics.median(seconds)
    return [name, round(megabytes, 3), median, megabytes / median, ratio]


def time_training(text, args):
    """Rows for the trainers. Hugging Face gets documents of 50,000 characters, its best case."""
    megabytes = len(text.encode("utf-8")) / 1e6
    documents = [text[i : i + 50_000] for i in range(0, len(text), 50_000)]
    ours = f"ours, {args.vocab:,} tokens"
    methods = {ours: lambda: train_bpe(text, args.vocab),
               "  of that, counting chunks": lambda: count_chunks(text)}
    rust = rust_trainer(args.vocab, args.threads)
    if rust:
        methods[f"Hugging Face, {args.threads} threads"] = lambda: rust(documents)
    seconds = interleaved(methods, args.rounds)
    baseline = seconds.get(f"Hugging Face, {args.threads} threads")
    rows = [row(name, times, megabytes, baseline) for name, times in seconds.items()]

    small = text[:PLAIN_BYTES]
    small_mb = len(small.encode("utf-8")) / 1e6
    pair = interleaved({"plain": lambda: train_plain(small, PLAIN_VOCAB),
                        "fast": lambda: train_bpe(small, PLAIN_VOCAB)}, 1)
    rows.append(row(f"plain, {PLAIN_VOCAB} tokens", pair["plain"], small_mb))
    rows.append(row(f"ours, {PLAIN_VOCAB} tokens", pair["fast"], small_mb))
    return rows


def time_encoding(text, args):
    """Rows for encoding: our wrapper beside bare tiktoken, and many texts at once."""
    tokenizer = Tokenizer.train(text, args.vocab)
    bare = tokenizer.encoding
    documents = [text[i : i + 50_000] for i in range(0, len(text), 50_000)]
    methods = {"tiktoken, bare": lambda: [bare.encode_ordinary(d) for d in documents],
               "our Tokenizer.encode": lambda: [tokenizer.encode(d) for d in documents],
               f"encode_batch, {args.threads} threads":
                   lambda: tokenizer.encode_batch(documents, threads=args.threads)}
    rust = rust_trainer(args.vocab, args.threads)
    if rust:
        peer = rust(documents)
        methods["Hugging Face encode_batch"] = lambda: peer.encode_batch(documents)
    seconds = interleaved(methods, args.rounds)
    megabytes = len(text.encode("utf-8")) / 1e6
    return [row(name, times, megabytes, seconds["tiktoken, bare"])
            for name, times in seconds.items()]


def parse_args(argv=None):
    parser = make_parser(__doc__, runs_model=False)
    parser.add_argument("--megabytes", type=float, default=5, help="size of the text (default: 5)")
    parser.add_argument("--vocab", type=int, default=4096, help="tokens to learn (default: 4096)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds to time (default: 5)")
    parser.add_argument("--threads", type=int, default=2,
                        help="threads for Hugging Face and for encode_batch (default: 2)")
    args = parser.parse_args(argv)
    if args.megabytes <= 0 or args.rounds < 1 or args.threads < 1:
        raise ValueError("--megabytes, --rounds and --threads must be larger than 0")
    return args


def main(argv=None):
    args = parse_args(argv)
    folder = out_folder(__file__, args.out)
    text = library_text(int(args.megabytes * 1e6))
    training = time_training(text, args)
    header = ["training", "MB", "seconds", "MB/s", "times Hugging Face"]
    print_table(header, training, "Training: higher than 1 in the last column is faster")
    encoding = time_encoding(text, args)
    header = ["encoding", "MB", "seconds", "MB/s", "times tiktoken"]
    print_table(header, encoding, "Encoding")
    save_json(folder / "benchmark_bpe.json", {"training": training, "encoding": encoding})


if __name__ == "__main__":
    run_main(main)
