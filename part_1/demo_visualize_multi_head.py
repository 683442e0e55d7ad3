"""What do the heads of a trained model look at? A small GPT learns to pick out a word.

    python part_1/demo_visualize_multi_head.py

It reads sentences such as "a goat , a saw and a plum are in the bag . the fruit is the plum ."
and must name the right thing at the end. There are 1,152 such sentences; it trains on four fifths
of them and is asked about the rest.

See: how often it is right on held-out sentences, and what each of its eight heads does, measured
over those sentences: the weight on the token before and, from the last "the", the weight on the
word that is the answer. The picture shows one held-out sentence: what every head looks at from
there, and the whole map of the head that finds the answer.
"""

from itertools import permutations, product

import plotting
import torch
from model import GPT, GPTConfig
from runtime import choose_device, make_parser, out_folder, print_table, run_main, seed_everything
from toy_text import Vocabulary
from tqdm import trange

KINDS = {"animal": "cat fox goat hen", "fruit": "apple fig pear plum", "tool": "axe nail rope saw"}
SENTENCE = "a {} , a {} and a {} are in the bag . the {} is the {} ."
SLOTS = (1, 4, 7)  # where the three things stand
PEAK = 5e-3        # of the learning rate
ASK = 16           # the last "the"; the answer comes next


def all_sentences() -> list[list[str]]:
    """Every sentence: three kinds in any order, four things of each, asked for each. 1,152."""
    sentences = []
    for kinds in permutations(KINDS):
        for things in product(*(KINDS[kind].split() for kind in kinds)):
            sentences += [SENTENCE.format(*things, kind, thing).split()
                          for kind, thing in zip(kinds, things)]
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
    """Next-word training on random batches of the training sentences."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK, weight_decay=0.01, fused=True)
    for step in (bar := trange(steps, desc="picking words out", mininterval=1)):
        optimizer.param_groups[0]["lr"] = PEAK * min(1, (step + 1) / 50, 2 * (steps - step) / steps)
        ids = training[torch.randint(len(training), (32,))]
        _, loss = model(ids[:, :-1], ids[:, 1:])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        bar.set_postfix(loss=f"{loss.item():.3f}", refresh=False)


@torch.no_grad()
def measure(model: GPT, ids: torch.Tensor) -> tuple[float, torch.Tensor, torch.Tensor]:
    """-> the share of right answers; (L, H) mean weights on the token before, on the answer."""
    right = (model(ids[:, :-1])[0][:, ASK].argmax(-1) == ids[:, ASK + 1]).float().mean().item()
    maps = model.attention_maps(ids[:, :-1])  # (B, L, H, T, T)
    before = maps.diagonal(offset=-1, dim1=-2, dim2=-1).mean(dim=(0, -1))
    row = torch.arange(len(ids), device=ids.device)
    answer = maps[row, :, :, ASK, answer_places(ids)].mean(dim=0)
    return right, before.cpu(), answer.cpu()


def head_names(layers: int, heads: int) -> list[str]:
    return [f"layer {i + 1} head {h + 1}" for i in range(layers) for h in range(heads)]


def draw(model, ids, words, right, answer, setup, folder) -> None:
    """Left: all heads from the last "the". Right: the head that puts most weight on the answer."""
    words = words.decode(ids[0, :ASK + 1])
    maps = model.attention_maps(ids[:1, :ASK + 1])[0].cpu()  # (L, H, T, T)
    layer, head = divmod(int(answer.argmax()), answer.size(1))
    fig, axes = plotting.figure(
        f"{right:.1%} of held-out answers right: at the end, head {head + 1} of layer "
        f"{layer + 1} puts {answer.max():.0%} of its weight on the word to be said",
        setup, 2, size=(10, 5), widths=[1.15, 1])
    names = head_names(maps.size(0), maps.size(1))
    plotting.heat_map(axes[0], maps[:, :, -1].flatten(0, 1), rows=names, columns=words,
                      numbers=False, colorbar=False)
    axes[0].set_aspect("auto")
    axes[0].set_title("where each head looks from the last 'the'", loc="left")
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
    parser.add_argument("--steps", type=int, default=900, help="training steps (default: 900)")
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
    training, held_out, words = split_sentences()
    config = GPTConfig(vocab_size=len(words), block_size=ASK + 2, n_layer=2, n_head=4, n_embd=64)
    model = GPT(config).to(device)
    held_out = held_out.to(device)
    train(model, training.to(device), steps)
    right, before, answer = measure(model, held_out)
    print_table(["head", "on the token before", "last 'the': on the answer"],
                [[name, b.item(), a.item()] for name, b, a in
                 zip(head_names(config.n_layer, config.n_head), before.flatten(),
                     answer.flatten())],
                f"Mean weights over {len(held_out)} held-out sentences")
    print(f"\nright answers on {len(held_out)} held-out sentences: {right:.1%}; "
          f"guessing among the three things named gives {1 / 3:.1%}")
    setup = (f"2 layers of 4 heads, width 64, {steps} steps of 32 sentences, seed {args.seed}; "
             f"the sentence shown is held out; weights in the title are means of {len(held_out)}")
    draw(model, held_out, words, right, answer, setup, folder)
    return {"right": right, "answer": answer.max().item(), "before": before.max().item()}


if __name__ == "__main__":
    run_main(main)
