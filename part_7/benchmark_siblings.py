"""What is it worth to read a prompt once for all its replies? The reward model, both ways.

    python part_7/benchmark_siblings.py              2, 4 and 8 replies to a prompt
    python part_7/benchmark_siblings.py --quick      few rows, one round

    shared    replies to one prompt stand in one row behind it (reward/siblings.py)
    own rows  each reply has a row of its own, with the whole prompt, as is usual
Both read the same 64 replies to random prompts with the same model, and take turns in every round,
so that a busy machine slows both; read the ratios. "step" is forward and backward, "score" forward
alone. They give the same scores: the largest difference stands in the table.
"""

from run.runtime import (
    choose_runtime,
    make_parser,
    out_folder,
    print_table,
    run_main,
    save_json,
    seed_everything,
)

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
import statistics
import time

import torch
from gpt.model import GPT, GPTConfig
from reward.model import RewardModel, sharing
from run import plotting
from text.rows import pad_rows

ROWS = 64
PROMPT, REPLY = (20, 46), (4, 20)  # tokens, from … to: 33 and 12 on average, as in the pairs
REPLY_TOKEN = 1  # what ends a prompt


def make_model() -> RewardModel:
    """Twice as wide as part 6's model; random weights: time does not depend on what they know."""
    body = GPT(GPTConfig(vocab_size=2563, block_size=288, n_layer=4, n_head=4, n_embd=256))
    model = RewardModel(body, reply_token=REPLY_TOKEN)
    for parameter in model.new_parameters():  # they start at 0, and would hide a difference
        torch.nn.init.normal_(parameter, std=0.05)
    return model


def random_rows(replies: int, rows: int) -> list[tuple[int, ...]]:
    """`rows` rows of ids, `replies` of them to each prompt."""
    def words(lengths: tuple[int, int]) -> list[int]:
        count = int(torch.randint(lengths[0], lengths[1] + 1, ()))
        return torch.randint(REPLY_TOKEN + 1, 2563, (count,)).tolist()

    prompts = [[*words(PROMPT), REPLY_TOKEN] for _ in range(rows // replies)]
    return [tuple(prompt + words(REPLY)) for prompt in prompts for _ in range(replies)]


def measure(model: RewardModel, rows: list, runtime, rounds: int) -> dict[str, float]:
    """Both ways in turn -> seconds of a step and of scoring (medians), tokens, difference."""
    last = torch.tensor([len(row) - 1 for row in rows], device=runtime.device)
    ids = pad_rows(rows, 0).to(runtime.device)
    ways = {"shared": lambda: sharing(model, rows, runtime.device), "own rows": lambda: None}
    seconds: dict[str, list[float]] = {f"{work} {way}": [] for way in ways
                                       for work in ("step", "score")}
    scores = {}
    for turn in range(rounds + 1):  # the first is warm-up
        for way, layout in ways.items():
            for work in ("step", "score"):
                start = time.perf_counter()
                with runtime.autocast(), torch.set_grad_enabled(work == "step"):
                    values = model(ids, last, layout())
                if work == "step":
                    values.float().square().mean().backward()
                    model.zero_grad(set_to_none=True)
                scores[way] = values.detach().float().cpu()  # waits for a GPU, too
                if turn:
                    seconds[f"{work} {way}"].append(time.perf_counter() - start)
    return {name: statistics.median(times) for name, times in seconds.items()} | {
        "tokens shared": sharing(model, rows).part.numel(), "tokens own rows": ids.numel(),
        "difference": float((scores["shared"] - scores["own rows"]).abs().max())}


def draw(measured: dict[int, dict], path) -> None:
    counts = list(measured)
    fig, ax = plotting.figure(
        f"{counts[-1]} replies that share their prompt's row take "
        f"{measured[counts[-1]]['step shared'] / measured[counts[-1]]['step own rows']:.2f} of the "
        "time",
        "64 replies, shared rows against a row for each; a step: forward and backward; medians")
    for work, color, said in (("step", plotting.BLUE, "time of a step"),
                              ("score", plotting.ORANGE, "time of scoring alone"),
                              ("tokens", plotting.GREY, "tokens read")):
        ax.plot(counts, [row[f"{work} shared"] / row[f"{work} own rows"]
                         for row in measured.values()], color=color, marker="o", label=said)
    ax.set(xlabel="replies to a prompt", ylabel="shared / own rows", ylim=(0, None), xticks=counts)
    ax.legend(fontsize=8)
    plotting.save(fig, path)


def parse_args(argv=None):
    parser = make_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=None,
                        help="measured rounds (default: 9; 1 with --quick)")
    parser.add_argument("--quick", action="store_true",
                        help="8 replies in all, one round (default: off)")
    return parser.parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    out = out_folder(__file__, args.out)
    rounds = (1 if args.quick else 9) if args.rounds is None else args.rounds
    if rounds < 1:
        raise ValueError(f"--rounds {rounds}: must be at least 1")
    seed_everything(args.seed)
    runtime = choose_runtime(args.device, args.amp)
    rows = 8 if args.quick else ROWS
    model = make_model().to(runtime.device).eval()
    measured = {replies: measure(model, random_rows(replies, rows), runtime, rounds)
                for replies in (2, 4, 8)}
    print_table(["replies to a prompt", "tokens", "of own rows", "step, ms", "of own rows",
                 "score, ms", "of own rows", "largest difference"],
                [[replies, row["tokens shared"], row["tokens shared"] / row["tokens own rows"],
                  1e3 * row["step shared"], row["step shared"] / row["step own rows"],
                  1e3 * row["score shared"], row["score shared"] / row["score own rows"],
                  row["difference"]] for replies, row in measured.items()],
                f"Shared rows, {rows} replies, {runtime.amp_name}: medians of {rounds} rounds")
    save_json(out / "benchmark_siblings.json", measured)
    draw(measured, out / "benchmark.png")


if __name__ == "__main__":
    run_main(main)
