"""What do the heads of a trained model look at? A small GPT learns to pick out a word.

    python part_1/demo_visualize_multi_head.py

It reads sentences such as "a goat , a saw and a plum are in the bag . the fruit is the plum ."
and must name the right thing at the end. There are 3,888 such sentences; it trains on four fifths
of them and is asked about the rest.

See: how often it is right on held-out sentences, and, measured over those, how much weight each of
its eight heads puts on the answer: from the word that names the kind, and from the last "the",
after which the answer is due. The picture shows the same, and one held-out sentence.
"""

from runtime import choose_device, make_parser, out_folder, print_table, run_main, seed_everything

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
from itertools import permutations, product

import plotting
import torch
from model import GPT, GPTConfig
from toy_text import Vocabulary
from tqdm import trange

KINDS = {"animal": "cat dog fox goat hen owl", "fruit": "apple fig grape lemon pear plum",
         "tool": "axe file nail rake rope saw"}
SENTENCE = "a {} , a {} and a {} are in the bag . the {} is the {} ."
SLOTS = (1, 4, 7)  # where the three things stand
PEAK = 3e-3        # of the learning rate
KIND = 14          # the kind asked for
ASK = 16           # the last "the"; the answer comes next


def all_sentences() -> list[list[str]]:
    """Every sentence: three kinds in any order, six things of each, asked for each. 3,888."""
    sentences = []
    for kinds in permutations(KINDS):
        for words in product(*(KINDS[kind].split() for kind in kinds)):
            sentences += [SENTENCE.format(*words, kind, thing).split()
                          for kind, thing in zip(kinds, words)]
    return sentences


def split_sentences() -> tuple[torch.Tensor, torch.Tensor, Vocabulary]:
    """-> ids for training, ids held out (a fifth, the same for every seed), and the words."""
    sentences = all_sentences()
    words = Vocabulary([word for sentence in sentences for word in sentence])
    ids = torch.stack([words.encode(sentence) for sentence in sentences])
    order = torch.randperm(len(ids), generator=torch.Generator().manual_seed(2017))
    held_out = len(ids) // 5
    return ids[order[held_out:]], ids[order[:held_out]], words


def answer_places(ids: torch.Tensor) -> torch.Tensor:
    """(B, 19) -> (B,): where the answer stands among the three things."""
    is_answer = ids[:, SLOTS] == ids[:, ASK + 1:ASK + 2]
    return torch.tensor(SLOTS, device=ids.device)[is_answer.int().argmax(dim=1)]


def train(model: GPT, training: torch.Tensor, steps: int) -> None:
    """Train on the answer alone: the other words are drawn at random, or always the same."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK, weight_decay=0.01, fused=True)
    for step in (bar := trange(steps, desc="picking words out", mininterval=1)):
        optimizer.param_groups[0]["lr"] = PEAK * min(1, (step + 1) / 50, 2 * (steps - step) / steps)
        ids = training[torch.randint(len(training), (32,))]
        targets = ids[:, 1:].clone()
        targets[:, :ASK] = -100  # not counted in the loss
        _, loss = model(ids[:, :-1], targets)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        bar.set_postfix(loss=f"{loss.item():.3f}", refresh=False)


@torch.no_grad()
def measure(model: GPT, ids: torch.Tensor, words: Vocabulary):
    """-> the share of right answers; (L * H, 6) mean weights on the answer, and six names.

    First seen from the name of the kind, for each kind; then from the last "the".
    """
    right = (model(ids[:, :-1])[0][:, ASK].argmax(-1) == ids[:, ASK + 1]).float().mean().item()
    maps = model.attention_maps(ids[:, :-1])  # (B, L, H, T, T)
    row, columns, names = torch.arange(len(ids), device=ids.device), [], []
    for query, seen_from in ((KIND, "'{}'"), (ASK, "the: {}")):
        on_answer = maps[row, :, :, query, answer_places(ids)]  # (B, L, H)
        for kind in KINDS:
            is_asked = ids[:, KIND] == words.encode([kind]).to(ids.device)
            columns.append(on_answer[is_asked].mean(dim=0).flatten().cpu())
            names.append(seen_from.format(kind))
    return right, torch.stack(columns, dim=1), names


def head_names(layers: int, heads: int) -> list[str]:
    return [f"layer {i + 1} head {h + 1}" for i in range(layers) for h in range(heads)]


@torch.no_grad()
def usual_sentence(model: GPT, ids: torch.Tensor, head: int, wanted: float) -> torch.Tensor:
    """(1, KIND + 1): the sentence on which a head's weight on the answer is nearest to its mean."""
    maps = model.attention_maps(ids[:, :KIND + 1]).flatten(1, 2)  # (B, L * H, T, T)
    on_answer = maps[torch.arange(len(ids), device=ids.device), head, KIND, answer_places(ids)]
    return ids[int((on_answer - wanted).abs().argmin())][None, :KIND + 1]


def draw(model, ids, words, right, weights, names, setup, folder) -> None:
    """Left: one sentence, seen from the name of the kind. Right: mean weights on the answer."""
    best, which = weights[:, :len(KINDS)].max(dim=0)
    kind = list(KINDS)[int(best.argmax())]  # the clearest one
    of_kind = ids[ids[:, KIND] == words.encode([kind]).to(ids.device)]
    shown = usual_sentence(model, of_kind, int(which[best.argmax()]), float(best.max()))
    sentence = words.decode(shown[0])
    maps = model.attention_maps(shown)[0].cpu()  # (L, H, T, T)
    heads = head_names(maps.size(0), maps.size(1))
    most = weights.amax(dim=0).view(2, len(KINDS)).amax(dim=0)  # over heads and both places
    peaks = ", ".join(f"{kind} {weight:.0%}" for kind, weight in zip(KINDS, most.tolist()))
    fig, axes = plotting.figure(
        f"{right:.1%} of held-out answers right. The most weight that any head puts on the answer: "
        f"{peaks}", setup, 2, size=(9.4, 4.6), widths=[1.35, 1])
    plotting.heat_map(axes[0], maps[:, :, -1].flatten(0, 1), rows=heads, columns=sentence,
                      numbers=False, colorbar=False)
    axes[0].set_title(f"a usual sentence: where each head looks from '{sentence[-1]}'", loc="left")
    plotting.heat_map(axes[1], weights, columns=names, numbers=True)
    axes[1].set_yticks([])
    axes[1].set_title("all sentences: weight on the answer, seen from", loc="left")
    for ax in axes:
        ax.set_aspect("auto")
        ax.tick_params(axis="x", rotation=90)
    plotting.save(fig, folder / "multi_head.png")


def parse_args(argv=None):
    parser = make_parser(__doc__, runs_model=False)
    parser.add_argument("--device", default="auto",
                        help="auto, cpu, cuda, cuda:N or mps (default: auto, the best)")
    parser.add_argument("--steps", type=int, default=None,
                        help="training steps (default: 400; quick: 30)")
    parser.add_argument("--quick", action="store_true",
                        help="30 steps, to see that it runs; learns little (default: off)")
    return parser.parse_args(argv)


def main(argv=None) -> dict:
    args = parse_args(argv)
    steps = (30 if args.quick else 400) if args.steps is None else args.steps
    if steps < 1:
        raise ValueError(f"--steps {steps} must be at least 1")
    folder = out_folder(__file__, args.out)
    device, _ = choose_device(args.device)
    seed_everything(args.seed)
    training, held_out, words = split_sentences()
    config = GPTConfig(vocab_size=len(words), block_size=ASK + 2, n_layer=2, n_head=4, n_embd=64)
    model = GPT(config).to(device)
    held_out = held_out.to(device)
    train(model, training.to(device), steps)
    right, weights, names = measure(model, held_out, words)
    print_table(["head", *names],
                [[head, *row] for head, row in zip(head_names(config.n_layer, config.n_head),
                                                   weights.tolist())],
                "Mean weight on the answer, seen from the kind's name and from the last 'the'")
    print(f"\nright answers on {len(held_out)} held-out sentences: {right:.1%}; "
          f"guessing among the three things named gives {1 / 3:.1%}")
    setup = (f"2 layers of 4 heads, width 64, {steps} steps of 32 sentences, seed {args.seed}; "
             f"the sentence shown is held out; weights in the title are means of {len(held_out)}")
    draw(model, held_out, words, right, weights, names, setup, folder)
    return {"right": right, "weight_on_answer": weights.max().item()}


if __name__ == "__main__":
    run_main(main)
