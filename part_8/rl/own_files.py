"""Prompts and pairs of somebody's own file: what is learnt from, what is held out, what is reported.

Rule   What is reported is about that file. For prompts: the reward model's own numbers on held-out
       ones, before and after; no judge knows how good the replies are. For pairs: how many of the
       held-out ones are in order by the implicit reward (eq. 8.15), which is 0 before training.
Used   train_ppo.py, train_dpo.py
"""

from collections.abc import Callable
from pathlib import Path

import torch
from files.reading import divide, normalised, read_file
from files.shapes import Shaped
from reward.pair_shapes import prompt_of
from reward.preferences import Pair, read_pair_file
from sft.chat_format import Message, check_messages, encode_prompt

from rl.dpo import dpo_loss
from rl.policy import response_logp
from rl.quality_report import gain_interval, rollout_kl
from rl.rollout import roll_out


def prompt_key(turns) -> tuple:
    """Two prompts with the same key ask the same."""
    return tuple((turn.role, normalised(turn.content)) for turn in turns)


def unusable_prompt(shaped: Shaped) -> str:
    """Why a record holds no question, or ""."""
    if any(not turn.content.strip() for turn in shaped.turns):
        return "an empty text"
    check_messages([Message(*turn) for turn in shaped.turns], answered=False)
    return ""


# ---------------------------------------------------------------- prompts, for PPO

def file_prompts(path: Path, tokenizer, longest: int) -> tuple[list, list, dict]:
    """The prompts of a file as tokens -> (to learn from, held out, what to report of them). Any shape:
    prompts alone, conversations or pairs, whose answers are not read. Each prompt counts once; those
    of more than `longest` tokens are left out, and said so."""
    reading = read_file(path, prompt_of, unusable_prompt)
    print("\n".join(reading.lines()))
    asked = [[Message(*turn) for turn in shaped.turns] for shaped in reading.kept]
    encoded = [encode_prompt(messages, tokenizer) for messages in asked]
    kept = [i for i, prompt in enumerate(encoded) if len(prompt) <= longest]
    if len(kept) < len(encoded):
        print(f"left out {len(encoded) - len(kept)} prompts of more than {longest} tokens")
    if not kept:
        raise ValueError(f"{path}: no prompt of at most {longest} tokens; lower --max-new")
    keys = [prompt_key(asked[i]) for i in kept]
    division = divide([[key] for key in keys], keys)
    print(division.line())
    learnt, held_out = ([encoded[kept[i]] for i in part]
                        for part in (division.learnt, division.held_out))
    return learnt, held_out, {"file": path.name, "prompts": division.prompts}


def compare_on_prompts(body, reference, source, prompts: list, tokenizer, runtime, *, longest: int,
                       samples: int, seed: int) -> dict:
    """The policy beside its reference on held-out prompts: the reward model's numbers, KL, lengths."""
    sampled = []
    for model in (reference, body):
        rollout = roll_out(model, prompts, longest, end=tokenizer.end, pad=tokenizer.pad,
                           copies=samples, runtime=runtime,
                           generator=torch.Generator().manual_seed(seed))
        sampled.append((rollout, source.raw(rollout)))
    (_, before), (rollout, after) = sampled
    gain, low, high = gain_interval(*(x.view(-1, samples).mean(1).numpy() for x in (after, before)),
                                    seed)
    return {"held_out_prompts": len(prompts), "reward_before": float(before.mean()),
            "reward_after": float(after.mean()),
            "reward_std_before": float(before.std()) if len(before) > 1 else 0.0,
            "reward_gain": gain, "reward_gain_interval": [low, high],
            "kl": float(rollout_kl(body, reference, rollout, runtime).mean()),
            "length_before": float(sampled[0][0].rows.is_response.sum(1).float().mean()),
            "length": float(rollout.rows.is_response.sum(1).float().mean()),
            "end_rate": float(rollout.ended.float().mean())}


# ---------------------------------------------------------------- pairs, for DPO

def file_pairs(path: Path, fits: Callable[[Pair], bool],
               most: int) -> tuple[list[Pair], list[Pair], dict]:
    """The pairs of a file that fit -> (to learn from, `most` at most; held out; what to report)."""
    pairs, reading = read_pair_file(path)
    print("\n".join(reading.lines()))
    kept = [pair for pair in pairs if fits(pair)]
    if len(kept) < len(pairs):
        print(f"left out {len(pairs) - len(kept):,} pairs that do not fit into the context, or are "
              "the same tokens on both sides")
    if not kept:
        raise ValueError(f"{path}: no pair fits into the model's context")
    division = divide([[prompt_key(pair.prompt)] for pair in kept],
                      [(pair.prompt, pair.chosen, pair.rejected) for pair in kept])
    print(division.line())
    learnt = [kept[i] for i in division.learnt]
    if len(learnt) > most:
        print(f"        the first {most:,} of them are learnt from (--pairs)")
    return learnt[:most], [kept[i] for i in division.held_out], {
        "file": path.name, "prompts": division.prompts, "read_once": division.twice}


@torch.no_grad()
def measure_pairs(body, reference, batches: list, runtime, *, beta: float) -> dict:
    """Rows of held-out pairs, chosen and rejected in turn -> what the policy makes of them."""
    logps = []
    for rows in batches:
        with runtime.autocast():
            both = [response_logp(model, rows).sum(1).float() for model in (body, reference)]
        logps.append([x.view(-1, 2) for x in both])
    logp, ref = (torch.cat(x) for x in zip(*logps))
    result = dpo_loss(*logp.unbind(1), *ref.unbind(1), beta=beta)
    return {"held_out_pairs": len(logp), "held_out_accuracy": result.accuracy,
            "held_out_loss": float(result.loss), "held_out_margin": result.chosen - result.rejected,
            "held_out_chosen_change": float((logp - ref)[:, 0].mean())}
