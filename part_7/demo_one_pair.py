"""How does one comparison become a gradient? Two replies on their way through the reward model.

    python part_7/demo_one_pair.py

See   Two replies to one question, as rows of tokens; the stream at each one's last real token; two
      scores, their difference, and the loss of Bradley–Terry (eq. 7.7), with the shapes of the
      tensors as they were. One step moves the two scores apart.
"""

from run.runtime import make_parser, out_folder, print_table, run_main

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
import torch
from gpt.model import GPT, GPTConfig
from reward.faults import Reply
from reward.losses import bradley_terry
from reward.model import PlainRewardModel, encode_reply
from run import plotting
from run.diagram import arrow, box, finish
from sft.chat_format import Message, chat_tokenizer
from text.rows import pad_rows
from text.tokenizer import Tokenizer
from world.world import World

QUESTION = "What is the opposite of hot?"
CHOSEN, REJECTED = "cold", "Find it out yourself. cold"
RATE = 0.01  # of one step of plain gradient descent


def parse_args(argv=None):
    return make_parser(__doc__, runs_model=False).parse_args(argv)


def one_pair(seed: int) -> dict:
    """What happens to one pair: rows, scores before and after a step, loss and gradients."""
    tokenizer = chat_tokenizer(Tokenizer.train([text.text for text in World().texts(60)], 400))
    torch.manual_seed(seed)
    model = PlainRewardModel(GPT(GPTConfig(vocab_size=tokenizer.vocab_size, block_size=128,
                                           n_layer=2, n_head=2, n_embd=32)))
    rows = [encode_reply([Message("user", QUESTION)], Reply(text), tokenizer, 128)
            for text in (CHOSEN, REJECTED)]
    ids = pad_rows(rows, tokenizer.pad)
    last = torch.tensor([len(row) - 1 for row in rows])
    features = model.body.features(ids)
    scores = model(ids, last)
    scores.retain_grad()
    loss = bradley_terry(scores[:1], scores[1:])
    loss.backward()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter -= RATE * parameter.grad
        after = model(ids, last)
    return {"ids": ids, "last": last, "features": features, "scores": scores.detach(),
            "gradients": scores.grad, "loss": loss.item(), "after": after, "pad": tokenizer.pad,
            "tokens": [[tokenizer.decode([token]) for token in row] for row in rows]}


def draw(path, pair: dict, setup: str) -> None:
    d = float(pair["scores"][0] - pair["scores"][1])
    later = float(pair["after"][0] - pair["after"][1])
    fig, ax = plotting.figure(
        f"One pair, one loss: only the difference d of two scores counts; a step moves it from "
        f"{d:+.2f} to {later:+.2f}", setup, size=(7, 4))
    shape = tuple(pair["features"].shape)
    for row, (name, text, y) in enumerate((("preferred", CHOSEN, 3.2),
                                           ("other", REJECTED, 0.8))):
        last = int(pair["last"][row])
        box(ax, 0.4, y, f"{name}: “{text}”\nrow {row} of ids {tuple(pair['ids'].shape)}",
            plotting.SKY, 3.9)
        box(ax, 5.2, y, f"body: h {shape}\nread at token {last}, the last", plotting.YELLOW, 3.5)
        box(ax, 8.8, y, f"w · h_T = {float(pair['scores'][row]):+.3f}", plotting.ORANGE, 2.2)
        arrow(ax, (2.45, y), (3.35, y))
        arrow(ax, (7.05, y), (7.6, y))
        arrow(ax, (9.0, y + (-0.45 if row == 0 else 0.45)), (10.6, 2.0 + (0.4 if row == 0 else -0.4)),
              f"∂L/∂r = {float(pair['gradients'][row]):+.2f}", color=plotting.BLACK,
              shift=(1.45, 0.25 if row == 0 else -0.25))
    box(ax, 10.9, 2.0, f"d = {d:+.3f}\nL = −log σ(d) = {pair['loss']:.3f}", plotting.GREEN, 3.0)
    ax.text(5.2, 2.0, "one body, one w for both rows;\npadding on the right is never read",
            ha="center", va="center", fontsize=8, color="#555555")
    finish(ax, (-1.7, 12.6), (0.1, 3.9))
    plotting.save(fig, path)


def main(argv=None):
    args = parse_args(argv)
    out = out_folder(__file__, args.out)
    pair = one_pair(args.seed)
    for name, row, tokens in zip(("preferred", "other"), pair["last"].tolist(), pair["tokens"]):
        print(f"{name}: {len(tokens)} tokens, the last at {row}: {' | '.join(tokens[-8:])}")
    print_table(["", "preferred", "other", "difference d", "loss"],
                [["before", *pair["scores"].tolist(),
                  float(pair["scores"][0] - pair["scores"][1]), pair["loss"]],
                 ["gradient of the loss", *pair["gradients"].tolist(), "", ""],
                 ["after a step", *pair["after"].tolist(),
                  float(pair["after"][0] - pair["after"][1]),
                  float(bradley_terry(pair["after"][:1], pair["after"][1:]))]],
                "scores of one pair by an untrained model")
    draw(out / "diagram_pair.png", pair, "eq. 7.3 and 7.7; an untrained model of 2 layers, width "
         f"32; one step of gradient descent at {RATE}, seed {args.seed}")


if __name__ == "__main__":
    run_main(main)
