"""The end of a run: final figures, base.pt, base.json, and the picture of its curves.

Used   train.py.
"""

from pathlib import Path

from run import plotting
from run.checkpoint import save_checkpoint
from run.distributed import unwrapped
from run.logger import read_log
from run.optim import model_state
from run.runtime import print_table, save_results

from base.measure import (
    LN2,
    cloze_accuracy,
    documents_loss,
    floor_bits_per_byte,
    rows_loss,
    world_documents,
)
from base.run import Run


def finish(run: Run) -> None:
    """Measure, then write everything that others need. With FSDP every process takes part."""
    metrics = final_metrics(run)
    weights = model_state(run.model)
    run.metrics = metrics
    run.save(is_due=False, finished=True)
    if not run.processes.is_main:
        return
    save_checkpoint(run.out / "base.pt", weights=weights, config=run.config,
                    tokenizer=run.tokenizer, step=run.step, settings=run.described(),
                    metrics=metrics, training=None)
    results = save_results(
        run.out / "base.json", name="base", preset=run.args.preset, seed=run.args.seed,
        runtime=run.runtime, seconds=run.seconds,
        tokens=run.step * run.settings.rows * run.settings.context, parameters=run.parameters,
        metrics=metrics)
    draw(run, results)
    print_table(["measured", "value"], [[name, value] for name, value in metrics.items()],
                f"{run.out / 'base.pt'}: {run.step:,} steps in {run.seconds:.0f} s, "
                f"{results['tokens_per_second']:,.0f} tokens/s")


def final_metrics(run: Run) -> dict:
    """val_loss and bits_per_byte; where the world was learnt, the floor and cloze questions too."""
    model = unwrapped(run.model).eval()
    if not run.probe:
        return rows_metrics(run, model)
    texts = world_documents(run.settings.eval_documents, run.args.seed + 1)  # not the probe's
    stories = [text for text in texts if text.kind == "story"]
    on_all = documents_loss(model, [text.text for text in texts], run.tokenizer, run.runtime)
    accuracy, questions = cloze_accuracy(model, stories, run.tokenizer, run.runtime)
    metrics = {"val_loss": on_all.loss, "bits_per_byte": on_all.bits_per_byte}
    if run.settings.data != "world":
        metrics = {**rows_metrics(run, model), "world_bits_per_byte": on_all.bits_per_byte}
    if stories:
        on_stories = documents_loss(model, [t.text for t in stories], run.tokenizer, run.runtime)
        metrics = {**metrics, "story_bits_per_byte": on_stories.bits_per_byte,
                   "story_floor_bits_per_byte": floor_bits_per_byte(stories)}
    return {**metrics, "floor_bits_per_byte": floor_bits_per_byte(texts),
            "cloze_accuracy": accuracy, "cloze_questions": questions}


def rows_metrics(run: Run, model) -> dict:
    """Loss over the held-out shards; per byte through the counts in their headers."""
    loss = rows_loss(model, run.held_out, run.runtime, batches=50,
                     by_document=run.settings.segments)
    shards = run.held_out.shards
    labels = sum(len(shard.tokens) - shard.documents for shard in shards)  # all but `begin`
    per_byte = labels / sum(shard.text_bytes for shard in shards)
    return {"val_loss": loss, "bits_per_byte": loss * per_byte / LN2}


def floor_per_token(run: Run) -> float | None:
    """The floor in nats per token on the probe's documents: the line under the curve."""
    if run.settings.data != "world":
        return None
    tokens = sum(len(ids) + 1 for ids in run.tokenizer.encode_batch([t.text for t in run.probe]))
    return sum(-text.logprob for text in run.probe) / tokens


# CHANGED in part 4: the curves of a run against the floor
def draw(run: Run, results: dict) -> Path:
    """Loss on training and held-out text over the steps, with the floor where it is known."""
    lines = read_log(run.out / "log.jsonl")
    steps, losses = zip(*[(line["step"], line["loss"]) for line in lines if "loss" in line])
    looks = [(line["step"], line["val_loss"]) for line in lines if "val_loss" in line]
    floor, metrics, s = floor_per_token(run), results["metrics"], run.settings
    per_byte = f"{metrics['bits_per_byte']:.3f} bits per byte"
    title = (f"After {run.step * s.rows * s.context / 1e6:.1f} M tokens: {per_byte} on held-out "
             "text")
    if floor is not None:
        excess = metrics["bits_per_byte"] / metrics["floor_bits_per_byte"] - 1
        title += f", {excess:.0%} above the floor"
        if metrics["cloze_accuracy"] is not None:
            title += f"; {metrics['cloze_accuracy']:.0%} of cloze questions right"
    fig, ax = plotting.figure(title, (
        f"{run.parameters / 1e6:.1f}M parameters, {s.n_layer} layers of width {s.n_embd}, context "
        f"{s.context}, vocabulary {run.tokenizer.vocab_size}, {run.step} steps of "
        f"{s.rows * s.context:,} tokens, {results['amp']} on {results['device']}, "
        f"seed {run.args.seed}"))
    unit = metrics["bits_per_byte"] / metrics["val_loss"]  # the title's unit: bits a byte, not nats a token
    losses, looks = [unit * loss for loss in losses], [(step, unit * loss) for step, loss in looks]
    ax.plot(steps, losses, color=plotting.GREY, lw=0.7)
    ax.plot(*zip(*looks), color=plotting.BLUE)
    plotting.end_label(ax, *zip(*looks), "held-out", plotting.BLUE, dy=6)
    low = min(losses)
    if floor is not None:
        low = min(low, unit * floor)
        ax.axhline(unit * floor, color=plotting.RED, lw=1.2, ls="--")
        ax.annotate("floor: the entropy of the world", (steps[-1] * 0.5, unit * floor), xytext=(0, -3),
                    textcoords="offset points", color=plotting.RED, va="top", fontsize=8)
    ax.set(xlabel="step", ylabel="loss, bits per byte (logarithmic)", yscale="log",
           ylim=(0.85 * low, unit * min(max(losses) / unit, 4.5)))
    ax.yaxis.set_major_formatter("{x:.2g}")
    ax.yaxis.set_minor_formatter("{x:.2g}")
    early = len(steps) // 12
    ax.annotate("one training batch", (steps[early], losses[early]), xytext=(12, 10),
                textcoords="offset points", color=plotting.GREY, fontsize=8)
    return plotting.save(fig, run.out / "train.png")


