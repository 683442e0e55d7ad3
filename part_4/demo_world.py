"""How surprising is each sentence of a story, to someone who knows the whole world it comes from?

Run    python part_4/demo_world.py            (another story: --seed 3)
See    a story sentence by sentence with its exact surprise in bits: new names and things are dear,
       what follows from what happened is cheap, a question costs its choice and its answer nothing.
       Then its cloze questions, what the judge says of a spoiled telling, and the entropy of the
       world: the loss that no model can beat.
"""

from run.runtime import make_parser, out_folder, print_table, run_main

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
import math
import textwrap
from collections import defaultdict

from run.plotting import BLUE, ORANGE, figure, save
from world.judge import judge
from world.world import World


def parse_args(argv=None):
    parser = make_parser(__doc__, seed=1, runs_model=False)
    parser.add_argument("--texts", type=int, default=3000,
                        help="texts for the mean surprise of the world (default: 3000)")
    args = parser.parse_args(argv)
    if args.texts < 10:
        raise ValueError(f"--texts {args.texts}: a mean wants at least 10")
    return args


def by_sentence(text):
    """[(kind of line, line, its surprise in bits)]: questions and their answers come apart."""
    rows = []
    for line, logp in text.trace:
        if line and len(rows) and rows[-1][0] == "question" or line in text.text.split("\n")[1:]:
            rows.append(("question", line, -logp / math.log(2)))
        elif line:
            rows.append(("story", line, -logp / math.log(2)))
    return rows


def floors(world, n, seed):
    """Mean surprise in bits per byte, by kind of text and over all."""
    bits, size = defaultdict(float), defaultdict(int)
    for text in world.texts(n, split="validation", seed=seed):
        for kind in (text.kind, "all"):
            bits[kind] -= text.logprob / math.log(2)
            size[kind] += len(text.text.encode())
    return {kind: bits[kind] / size[kind] for kind in [*world.kinds, "all"] if size[kind]}


def draw(rows, floor, seed, path):
    total = sum(bits for _, _, bits in rows)
    letters = sum(len(line) for _, line, _ in rows)
    first = sum(bits for _, _, bits in rows[:2])
    fig, ax = figure(f"The first two lines carry {first / total:.0%} of this story's {total:.0f} bits:"
                     " much of the rest follows from them",
                     f"exact surprise of each line, {total / letters:.3f} bits a byte; seed {seed}; "
                     f"stories have {floor:.3f} on average", size=(7, 4.6))
    names = [textwrap.shorten(line, 44, placeholder=" …") for _, line, _ in rows]
    ax.barh(range(len(rows)), [bits for *_, bits in rows],
            color=[BLUE if kind == "story" else ORANGE for kind, *_ in rows])
    ax.set_yticks(range(len(rows)), names, fontsize=9)
    ax.invert_yaxis()
    ax.set_xlim(0, 1.1 * max(bits for *_, bits in rows))    # room for the numbers
    ax.grid(axis="y", visible=False)
    ax.grid(axis="x", color="#DDDDDD", linewidth=0.6)
    ax.set_xlabel("bits (blue: story, orange: question and answer)")
    for i, (_, _, bits) in enumerate(rows):
        ax.text(bits + 0.3, i, f"{bits:.1f}", va="center", fontsize=9)
    save(fig, path)


def main(argv=None):
    args = parse_args(argv)
    out = out_folder(__file__, args.out)
    world = World()
    text = next(world.sample(args.seed, kinds=["story"]))
    rows = by_sentence(text)
    print_table(["bits", "line"], [[round(bits, 1), line] for _, line, bits in rows],
                "A story, line by line")
    print_table(["question", "answer", "wrong answers"],
                [[prefix.split("\n")[-1], answer.strip(), " / ".join(w.strip() for w in wrong[:2])]
                 for prefix, answer, wrong in text.cloze()], "What can be asked of it")
    hero, thing = text.walk.bind["H"], text.walk.bind["X"]
    broken = text.story.replace(thing, "dragon")
    strange = " ".join(reversed([line for _, line in judge(text.story).events]))
    print_table(["version", "log p, nats", "judge's score", "first fault"],
                [[name, World({"story": 1}).logprob(body), judge(body).score,
                  (judge(body).faults or ["-"])[0][:50]]
                 for name, body in (("as told", text.text), (f"{thing} -> dragon", broken),
                                    ("told backwards", strange))],
                f"{hero}'s story, as told and spoiled")
    floor = floors(world, args.texts, args.seed)
    print_table(["kind of text", "share of documents", "floor, bits a byte", "floor, nats a byte"],
                [[kind, world.kinds.get(kind, 1.0), bits, bits * math.log(2)]
                 for kind, bits in floor.items()],
                f"Entropy of the world, from {args.texts} texts")
    draw(rows, floor["story"], args.seed, out / "world.png")


if __name__ == "__main__":
    run_main(main)
