"""How good is the base model? Bits per byte against the floor, kind by kind, and cloze questions.

    python part_4/eval.py
    python part_4/eval.py --documents 1000 --show 5
    python part_4/eval.py --data my_file.txt         bits per byte of any text
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

from base.measure import (
    cloze_accuracy,
    documents_loss,
    floor_bits_per_byte,
    sample_text,
    world_documents,
)
from run.checkpoint import load_checkpoint
from run.thrift import rounded_once
from text.own_files import documents_of, existing, find_texts
from world.world import KINDS

MOST_DOCUMENTS = 1_000_000  # of the world: more takes days


def parse_args(argv=None):
    parser = make_parser(__doc__, seed=1)
    parser.add_argument("--checkpoint", type=Path, default=here(__file__) / "out" / "base.pt",
                        help="a checkpoint or a released model's folder (default: out/base.pt "
                             "beside the script)")
    parser.add_argument("--documents", type=int, default=300,
                        help="held-out documents of the world (default: 300)")
    parser.add_argument("--data", default=None,
                        help="measure on this file or folder instead (default: the world)")
    parser.add_argument("--show", type=int, default=1,
                        help="how many texts of the model to show (default: 1)")
    return parser.parse_args(argv)


def on_files(model, tokenizer, runtime, path: Path) -> list[list]:
    """One row: the loss on texts of the reader's own."""
    texts = [piece for file in find_texts(existing(path)) for piece in documents_of(file)
             if piece.strip()]
    if not texts:
        raise ValueError(f"--data {path}: there is no text in it")
    result = documents_loss(model, texts, tokenizer, runtime)
    return [[path.name, len(texts), result.loss, result.bits_per_byte, None, None]]


def on_world(model, tokenizer, runtime, args) -> list[list]:
    """A row for each kind of document, and one for all."""
    texts = world_documents(args.documents, args.seed, split="test")
    rows = []
    for kind in (*KINDS, "all"):
        chosen = [text for text in texts if kind in (text.kind, "all")]
        if chosen:
            result = documents_loss(model, [t.text for t in chosen], tokenizer, runtime)
            floor = floor_bits_per_byte(chosen)
            rows.append([kind, len(chosen), result.loss, result.bits_per_byte, floor,
                         result.bits_per_byte / floor - 1])
    return rows


def main(argv=None):
    args = parse_args(argv)
    if args.documents < 1:
        raise ValueError(f"--documents {args.documents}: must be at least 1")
    if args.documents > MOST_DOCUMENTS:
        raise ValueError(f"--documents {args.documents}: at most {MOST_DOCUMENTS:,}")
    if args.show < 0:
        raise ValueError(f"--show {args.show}: must not be below 0")
    if args.data is not None and not args.data.strip():
        raise ValueError("--data is empty; name a file or a folder")
    out = out_folder(__file__, args.out)
    model, tokenizer, _ = load_checkpoint(args.checkpoint)
    runtime = choose_runtime(args.device, args.amp, width=model.config.n_embd)
    rounded_once(model, runtime)
    header = ["text", "documents", "nats/token", "bits/byte", "floor", "above floor"]
    if args.data is not None:
        print_table(header, on_files(model, tokenizer, runtime, Path(args.data).expanduser()))
        return
    rows = on_world(model, tokenizer, runtime, args)
    print_table(header, rows, f"Held-out documents of the world (test split), seed {args.seed}")
    stories = world_documents(args.documents, args.seed, split="test", kinds=["story"])
    accuracy, questions = cloze_accuracy(model, stories, tokenizer, runtime)
    if accuracy is not None:
        print(f"\ncloze   {accuracy:.1%} of {questions:,} questions about {len(stories)} stories")
    save_json(out / "eval.json",
              {"table": [dict(zip(header, row)) for row in rows], "cloze_accuracy": accuracy,
               "cloze_questions": questions})
    for number in range(args.show):
        text = sample_text(model, tokenizer, runtime, count=400, seed=args.seed + number)
        print(f"\n--- the model writes:\n{text}")


if __name__ == "__main__":
    run_main(main)
