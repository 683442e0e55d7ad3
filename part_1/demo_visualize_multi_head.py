"""What do the heads of a trained model look at? A small GPT learns to look things up.

    python part_1/demo_visualize_multi_head.py

It reads sentences such as "ann has the key . ben has the bell . tom has the cup . the bell is
with ben .", made at random, and must name the right person at the end.

See: how often it is right on held-out sentences, and what each of its eight heads does, measured
over those sentences: the weight on the token before, and, at the word "with", the weight on the
answer. The picture shows one held-out sentence: what every head looks at from "with", and the
whole map of the head that finds the answer.
"""

import plotting
import torch
from model import GPT, GPTConfig
from runtime import choose_device, make_parser, out_folder, print_table, run_main, seed_everything
from toy_text import Vocabulary
from tqdm import trange

PEOPLE = ["ann", "ben", "eva", "leo", "mia", "tom"]
THINGS = ["bell", "book", "cup", "key", "lamp", "rope"]
CLAUSES = 3
WORDS = Vocabulary([*PEOPLE, *THINGS, "has", "is", "the", "with", "."])
LENGTH = 5 * CLAUSES + 6   # "X has the Y ." three times, then "the Y is with X ."
ASK = LENGTH - 3           # where "with" stands; the answer comes next
PER_GROUP = len(PEOPLE)


def pick(count: int, choices: int, generator: torch.Generator) -> torch.Tensor:
    """(count, CLAUSES): different numbers below `choices` in each row."""
    return torch.rand(count, choices, generator=generator).argsort(dim=1)[:, :CLAUSES]


def make_sentences(count: int, generator: torch.Generator, *, held_out: bool):
    """-> ids (count, LENGTH) and asked (count,), the clause that holds the answer.

    A sentence is held out when the sum over its clauses of place * (person + 2 thing), plus the
    clause asked for, is a multiple of 5: a rule, so that none of them is ever trained on.
    """
    people = pick(4 * count + 40, len(PEOPLE), generator)
    things = pick(4 * count + 40, len(THINGS), generator)
    asked = torch.randint(CLAUSES, (len(people),), generator=generator)
    places = torch.arange(1, CLAUSES + 1)
    rule = ((people + 2 * things) * places).sum(dim=1) + asked
    keep = (rule % 5 == 0) == held_out
    # of 4 n + 40 candidates a fifth is held out, so a larger draw is needed for those
    people, things, asked = people[keep][:count], things[keep][:count], asked[keep][:count]
    if len(people) < count:
        more, more_asked = make_sentences(count - len(people), generator, held_out=held_out)
        ids, asked = _write(people, things, asked)
        return torch.cat([ids, more]), torch.cat([asked, more_asked])
    return _write(people, things, asked)


def _write(people: torch.Tensor, things: torch.Tensor, asked: torch.Tensor):
    """Numbers of people and things, and who is asked for -> the words of the sentences."""
    person = WORDS.encode(PEOPLE)[people]
    thing = WORDS.encode(THINGS)[things]
    has, the, dot, is_, with_ = WORDS.encode(["has", "the", ".", "is", "with"])
    ids = torch.empty(len(people), LENGTH, dtype=torch.int64)
    for c in range(CLAUSES):
        ids[:, 5 * c], ids[:, 5 * c + 3] = person[:, c], thing[:, c]
        ids[:, 5 * c + 1], ids[:, 5 * c + 2], ids[:, 5 * c + 4] = has, the, dot
    row = torch.arange(len(people))
    ids[:, -6], ids[:, -4], ids[:, -3], ids[:, -1] = the, is_, with_, dot
    ids[:, -5], ids[:, -2] = thing[row, asked], person[row, asked]
    return ids, asked


def train(model: GPT, steps: int, generator: torch.Generator, device) -> None:
    """Next-word training on fresh sentences."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.01, fused=True)
    for step in (bar := trange(steps, desc="looking things up", mininterval=1)):
        optimizer.param_groups[0]["lr"] = 3e-3 * min(1, (step + 1) / 50, 2 * (steps - step) / steps)
        ids = make_sentences(64, generator, held_out=False)[0].to(device)
        _, loss = model(ids[:, :-1], ids[:, 1:])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        bar.set_postfix(loss=f"{loss.item():.3f}", refresh=False)


@torch.no_grad()
def measure(model: GPT, ids: torch.Tensor, asked: torch.Tensor):
    """-> the share of right answers, and (L, H) weights: token before, answer, its thing."""
    right = (model(ids[:, :-1])[0][:, ASK].argmax(-1) == ids[:, ASK + 1]).float().mean().item()
    maps = model.attention_maps(ids[:, :-1]).cpu()  # (B, L, H, T, T)
    before = maps.diagonal(offset=-1, dim1=-2, dim2=-1).mean(dim=(0, -1))
    row, clause = torch.arange(len(ids)), asked.cpu()
    answer = maps[row, :, :, ASK, 5 * clause].mean(dim=0)
    thing = maps[row, :, :, ASK, 5 * clause + 3].mean(dim=0)
    return right, before, answer, thing


def draw(model, ids, right, answer, setup, folder) -> None:
    """Left: all heads from "with". Right: the head that puts most weight on the answer."""
    words = WORDS.decode(ids[0, :ASK + 1])
    maps = model.attention_maps(ids[:1, :ASK + 1])[0].cpu()  # (L, H, T, T)
    layer, head = divmod(int(answer.argmax()), answer.size(1))
    fig, axes = plotting.figure(
        f"{right:.1%} of held-out questions right: from 'with', head {head + 1} of layer "
        f"{layer + 1} puts {answer.max():.0%} of its weight on the answer",
        setup, 2, size=(10, 5), widths=[1.15, 1])
    names = [f"layer {l + 1} head {h + 1}" for l in range(maps.size(0)) for h in range(maps.size(1))]
    plotting.heat_map(axes[0], maps[:, :, -1].flatten(0, 1), rows=names, columns=words,
                      numbers=False, colorbar=False)
    axes[0].set_aspect("auto")
    axes[0].set_title("where each head looks from the last word, 'with'", loc="left")
    visible = torch.ones(len(words), len(words)).tril().bool().numpy()
    plotting.heat_map(axes[1], maps[layer, head], rows=words, columns=words, is_visible=visible,
                      numbers=False)
    axes[1].set_title(f"all of layer {layer + 1} head {head + 1} (row looks at column)", loc="left")
    for ax in axes:
        ax.tick_params(axis="x", rotation=90)
        ax.tick_params(labelsize=8)
    plotting.save(fig, folder / "multi_head.png")


def parse_args(argv=None):
    parser = make_parser(__doc__, runs_model=False)
    parser.add_argument("--device", default="auto",
                        help="auto, cpu, cuda, cuda:N or mps (default: auto, the best)")
    parser.add_argument("--steps", type=int, default=700, help="training steps (default: 700)")
    parser.add_argument("--quick", action="store_true",
                        help="30 steps, to see that it runs; learns little (default: off)")
    return parser.parse_args(argv)


def main(argv=None) -> dict:
    args = parse_args(argv)
    steps = 30 if args.quick else args.steps
    if steps < 1:
        raise ValueError(f"--steps {steps} must be at least 1")
    folder = out_folder(__file__, args.out)
    device, _ = choose_device(args.device)
    seed_everything(args.seed)
    config = GPTConfig(vocab_size=len(WORDS), block_size=LENGTH - 1, n_layer=2, n_head=4, n_embd=64)
    model = GPT(config).to(device)
    train(model, steps, torch.Generator().manual_seed(args.seed), device)
    ids, asked = make_sentences(500, torch.Generator().manual_seed(4321), held_out=True)
    right, before, answer, thing = measure(model, ids.to(device), asked)
    rows = [[f"layer {l + 1} head {h + 1}", before[l, h].item(), answer[l, h].item(),
             thing[l, h].item()] for l in range(config.n_layer) for h in range(config.n_head)]
    print_table(["head", "on the token before", "'with': on the answer", "'with': on its thing"],
                rows, "Mean weights over 500 held-out sentences")
    print(f"\nright answers on held-out sentences: {right:.1%}; guessing among the "
          f"{CLAUSES} people named gives {1 / CLAUSES:.1%}")
    setup = (f"2 layers of 4 heads, width 64, trained {steps} steps of 64 sentences, "
             f"seed {args.seed}; the sentence shown is held out; weights in the title are means of 500")
    draw(model, ids.to(device), right, answer, setup, folder)
    return {"right": right, "answer": answer.max().item(), "before": before.max().item()}


if __name__ == "__main__":
    run_main(main)
