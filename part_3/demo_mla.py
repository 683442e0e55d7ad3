"""How little can be cached: key/value heads shared, or one short latent vector?

    python demo_mla.py            40 seconds
    python demo_mla.py --quick    a few seconds: little training

What to see: the naive and the absorbed form of latent attention give the same numbers, and at long
caches the absorbed one is the faster; trained side by side, the loss against the bytes cached for
each token.
"""

from run.runtime import make_parser, out_folder, print_table, run_main, seed_everything

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
import statistics
import time

import torch
from attention import make_plan
from run.evaluation import evaluate
from run.plotting import BLUE, GREEN, GREY, ORANGE, PURPLE, figure, save
from run.tiny_training import load_text, make_model, train

SIZE = {"n_layer": 3, "n_head": 6, "n_embd": 96, "block_size": 64, "embedding_std": 0.05}
KINDS = {"MHA": {"n_kv_head": 6}, "GQA, 2 heads": {"n_kv_head": 2}, "MQA": {"n_kv_head": 1},
         "MLA, r = 32": {"attention": "mla", "kv_rank": 32, "rope_dim": 8},
         "MLA, r = 8": {"attention": "mla", "kv_rank": 8, "rope_dim": 8}}
COLORS = dict(zip(KINDS, (GREY, ORANGE, GREEN, BLUE, PURPLE)))


@torch.inference_mode()
def compare_forms(seed: int, lengths: list[int]) -> None:
    """One query after a cache of each length, in both forms: how far apart, how fast."""
    model = make_model(seed, n_layer=1, n_head=8, n_embd=256, block_size=lengths[-1] + 1,
                       attention="mla", kv_rank=64, rope_dim=16).eval()
    layer, rows = model.blocks[0].attention, []
    for length in lengths:
        x = torch.randn(1, 1, 256)
        outs, times = {}, {}
        for absorb in (False, True):
            cache = model.make_cache(1, length + 1)
            model(torch.randint(0, 256, (1, length), generator=torch.manual_seed(seed)),
                  cache=cache)
            plan = make_plan((1, 1), x.device, window=None, sink=0, table=model.table, cache=cache)
            taken = []
            for _ in range(9):
                start = time.perf_counter()
                outs[absorb] = layer(x, plan, absorb=absorb)
                taken.append(1e3 * (time.perf_counter() - start))
            times[absorb] = statistics.median(taken)
        rows.append([length, (outs[True] - outs[False]).abs().max().item(), times[False],
                     times[True], times[False] / times[True]])
    print_table(["cached tokens", "difference", "naive, ms", "absorbed, ms", "times faster"], rows,
                "one layer of latent attention, one new token (8 heads, width 256, r = 64)")


def draw(path, results: dict, setup: str) -> None:
    small, whole = results["MLA, r = 32"], results["MHA"]
    fig, ax = figure(f"Latent attention caches {small[0]:,} bytes a token instead of {whole[0]:,}; "
                     f"loss {small[1]:.2f} against {whole[1]:.2f}", setup)
    for name, (size, loss, _) in results.items():
        ax.plot(size, loss, "o", color=COLORS[name], markersize=9)
        ax.annotate(name, (size, loss), xytext=(8, 6), textcoords="offset points",
                    color=COLORS[name])
    ax.set(xlabel="bytes cached for each token (3 blocks, float32)",
           ylabel="validation loss, nats a byte", xscale="log",
           xticks=(200, 500, 1000, 2000), xticklabels=("200", "500", "1,000", "2,000"))
    ax.minorticks_off()
    ax.margins(x=0.15, y=0.15)
    save(fig, path)


def parse_args(argv=None):
    parser = make_parser(__doc__, runs_model=False)
    parser.add_argument("--quick", action="store_true", help="less training (default: off)")
    return parser.parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    out = out_folder(__file__, args.out)
    seed_everything(args.seed)
    compare_forms(args.seed, [64, 256] if args.quick else [64, 256, 1024, 4096])
    steps, seeds = (10, 1) if args.quick else (120, 2)
    texts, results = load_text(), {}
    for name, kind in KINDS.items():
        losses = []
        for seed in range(args.seed, args.seed + seeds):
            model = make_model(seed, **SIZE, **kind)
            train(model, texts[0], steps=steps, seed=seed)
            losses.append(evaluate(model, texts[1]))
        results[name] = (model.make_cache(1, 1).bytes, sum(losses) / seeds,
                         model.count_parameters())
    runs = "1 seed" if seeds == 1 else f"{seeds} seeds"
    print_table(["attention", "bytes a token", "parameters", "validation loss"],
                [[name, size, count, loss] for name, (size, loss, count) in results.items()],
                f"after {steps} steps on the fables, mean of {runs}")
    draw(out / "mla.png", results, f"3 blocks, 6 heads, width 96, batch 16 x 64, {steps} steps, "
         f"{runs} from {args.seed}")


if __name__ == "__main__":
    run_main(main)
