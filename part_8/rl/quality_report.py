"""What a policy is worth on held-out prompts: true quality, reward, KL, length, exact match.

Math   gain over the tuned model, mean over prompts of  q_after(prompt) − q_before(prompt); 95% from
       2,000 resamplings of the prompts                                              (eq. 8.14)
       way to the best  =  (q_after − q_before) / (q_best − q_before),  q_best of the gold replies
Used   train_ppo.py, train_dpo.py, evaluate_ppo.py, ablation.py
Shapes P prompts, S samples of each
"""

from dataclasses import dataclass

import numpy as np
import torch
from reward.judge import quality
from reward.preferences import asked_items
from sft.chat_format import encode_prompt, messages_of
from sft.evaluation import evaluate_split, room_for

from rl.policy import response_logp
from rl.rollout import Rollout, roll_out
from rl.scoring import true_qualities

LONGEST = 48  # tokens of a reply to a held-out prompt, if nothing else is said


@dataclass(frozen=True)
class Quality:
    """Means over the S samples of each prompt, (P,) each; `spread` is over all P·S scores."""

    quality: np.ndarray
    reward: np.ndarray  # the reward model's own numbers
    kl: np.ndarray  # to the reference, in nats, summed over a reply
    length: np.ndarray  # tokens
    ended: np.ndarray
    spread: float  # standard deviation of the rewards

    def means(self) -> dict:
        return {name: float(getattr(self, name).mean())
                for name in ("quality", "reward", "kl", "length", "ended")}


@torch.inference_mode()
def reply_logp(model, rollout: Rollout, runtime, *, temperature: float = 1.0,
               size: int = 64) -> torch.Tensor:
    """(B,): the log-probability of each whole reply, in batches of like length."""
    found = torch.zeros(len(rollout.rows))
    for part in rollout.rows.lengths.argsort().split(size):
        with runtime.autocast():
            logp = response_logp(model, rollout.rows.pick(part), temperature=temperature)
        found[part.cpu()] = logp.sum(1).cpu()
    return found


def rollout_kl(body, reference, rollout: Rollout, runtime, *,
               temperature: float = 1.0) -> torch.Tensor:
    """(B,): log π − log π_ref of each reply. `temperature` is that of π; the reference's is 1."""
    return reply_logp(body, rollout, runtime, temperature=temperature) \
        - reply_logp(reference, rollout, runtime)


def sampled_quality(body, reference, source, asked: list, tokenizer, runtime, *,
                    samples: int = 4, seed: int = 0, temperature: float = 1.0,
                    longest: int = LONGEST) -> Quality:
    """Draw `samples` replies to each item, each as if it were alone, and measure them."""
    prompts = [encode_prompt(messages_of(item), tokenizer) for item in asked]
    rooms = [max(1, room_for(body, prompt, longest)) for prompt in prompts]
    rollout = roll_out(body, prompts, rooms, end=tokenizer.end, pad=tokenizer.pad,
                       copies=samples, runtime=runtime, temperature=temperature,
                       generator=torch.Generator().manual_seed(seed))
    items = [item for item in asked for _ in range(samples)]
    rewards = source.raw(rollout)

    def by_prompt(values) -> np.ndarray:
        return np.asarray(values, dtype=float).reshape(len(asked), samples).mean(1)

    return Quality(by_prompt(true_qualities(items, rollout, tokenizer)), by_prompt(rewards),
                   by_prompt(rollout_kl(body, reference, rollout, runtime,
                                        temperature=temperature)),
                   by_prompt(rollout.rows.is_response.sum(1).cpu()),
                   by_prompt(rollout.ended.float().cpu()), float(rewards.std()))


def gain_interval(after: np.ndarray, before: np.ndarray, seed: int = 0,
                  resamplings: int = 2000) -> tuple[float, float, float]:
    """(P,), (P,) for the same prompts -> mean gain, and its 95% interval (eq. 8.14)."""
    if len(after) != len(before) or len(after) == 0:
        raise ValueError(f"{len(after)} and {len(before)} prompts: a gain is between the same "
                         "prompts, at least one")
    gain = np.asarray(after, dtype=float) - np.asarray(before, dtype=float)
    rng = np.random.default_rng(seed)
    means = gain[rng.integers(0, len(gain), (resamplings, len(gain)))].mean(1)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(gain.mean()), float(low), float(high)


def held_out_items(n: int, seed: int) -> list:
    """Items of content that nobody was trained on."""
    return asked_items(n, "new_items", seed + 5000)


def best_quality(asked: list) -> float:
    """The mean quality of the gold replies: what can be reached."""
    return float(np.mean([quality(item, item.answer) for item in asked]))


def compare(body, reference, source, tokenizer, runtime, *, prompts: int, samples: int,
            exact: int, seed: int, longest: int = LONGEST) -> tuple[dict, Quality, Quality]:
    """The policy beside its reference -> (the metrics of ppo.json and dpo.json, after, before)."""
    asked = held_out_items(prompts, seed)
    before, after = (sampled_quality(model, reference, source, asked, tokenizer, runtime,
                                     samples=samples, seed=seed, longest=longest)
                     for model in (reference, body))
    best = best_quality(asked)
    gain, low, high = gain_interval(after.quality, before.quality, seed)
    metrics = {"reward_before": before.means()["reward"], "reward_after": after.means()["reward"],
               "reward_std_before": before.spread,
               "quality_before": before.means()["quality"],
               "quality_after": after.means()["quality"], "quality_best": best,
               "quality_gain": gain, "quality_gain_interval": [low, high],
               "way_to_the_best": gain / max(best - before.means()["quality"], 1e-9),
               "kl": after.means()["kl"], "length_before": before.means()["length"],
               "length": after.means()["length"], "end_rate": after.means()["ended"]}
    if exact:
        scores = [evaluate_split(model, tokenizer, runtime, "new_items", exact, seed + 1)
                  for model in (reference, body)]
        metrics |= {"exact_match_before": scores[0].exact_match,
                    "exact_match": scores[1].exact_match, "greedy_end_rate": scores[1].end_rate}
    return metrics, after, before
