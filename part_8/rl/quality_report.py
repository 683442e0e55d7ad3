"""What a policy is worth on held-out prompts, and what it does: quality, manners, answers, KL.

Math   gain over the tuned model, mean over prompts of  q_after(prompt) − q_before(prompt); 95% from
       2,000 resamplings of the prompts                                              (eq. 8.3)
       way to the ceiling  =  (q_after − q_before) / (q_ceiling − q_before),  q_ceiling: the tuned
       model's own answers, in perfect manners                                       (eq. 8.4)
Idea   To be surer is no new behaviour: so the tuned model is also drawn from at low temperatures, and
       the best of them is what a policy has to be ahead of. And what changed is shown by itself:
       how many replies are rude, idle, …, how many greedy replies are other ones, and whether the
       answers, with the manner taken off, are still right.
Used   train_ppo.py, train_dpo.py, evaluate_ppo.py, ablation.py
Shapes P prompts, S samples of each
"""

from dataclasses import dataclass

import numpy as np
import torch
from reward.preferences import asked_items
from sft.chat_format import decode_reply, encode_prompt, messages_of
from sft.evaluation import answer_items, answers_rightly, manner_shares, room_for
from sft.manners import is_held_out_manner
from sft.skills import items as draw_items

from rl.policy import response_logp
from rl.rollout import Rollout, roll_out
from rl.scoring import judgements

LONGEST = 72  # tokens of a reply to a held-out prompt, if nothing else is said
COOL = (0.2, 0.4, 0.6, 0.8)  # temperatures at which the tuned model is tried


@dataclass(frozen=True)
class Quality:
    """Means over the S samples of each prompt, (P,) each; `spread` is over all P·S scores."""

    quality: np.ndarray
    ceiling: np.ndarray  # quality of the same answers in perfect manners
    right: np.ndarray  # with the manner taken off
    reward: np.ndarray  # the reward model's own numbers
    kl: np.ndarray  # to the reference, in nats, summed over a reply
    length: np.ndarray  # tokens
    ended: np.ndarray
    spread: float  # standard deviation of the rewards
    manners: dict  # manner -> share of all replies that show it; "plain": no bad one
    held_out: float  # share of replies with a sentence that is in no pair

    def means(self) -> dict:
        return {name: float(getattr(self, name).mean())
                for name in ("quality", "ceiling", "right", "reward", "kl", "length", "ended")}


@torch.inference_mode()
def reply_logp(model, rollout: Rollout, runtime, *, temperature: float = 1.0,
               size: int = 64) -> torch.Tensor:
    """(B,): the log-probability of each whole reply, in batches of like length."""
    reply_logps = torch.zeros(len(rollout.rows))
    for part in rollout.rows.lengths.argsort().split(size):
        with runtime.autocast():
            logp = response_logp(model, rollout.rows.pick(part), temperature=temperature)
        reply_logps[part.cpu()] = logp.sum(1).cpu()
    return reply_logps


def rollout_kl(body, reference, rollout: Rollout, runtime, *,
               temperature: float = 1.0) -> torch.Tensor:
    """(B,): log π − log π_ref of each reply. `temperature` is that of π; the reference's is 1."""
    return reply_logp(body, rollout, runtime, temperature=temperature) \
        - reply_logp(reference, rollout, runtime)


def sampled_quality(body, reference, source, asked: list, tokenizer, runtime, *,
                    samples: int = 4, seed: int = 0, temperature: float = 1.0,
                    longest: int = LONGEST) -> Quality:
    """Draw `samples` replies to each item, each as if it were alone, and measure them."""
    rollout = drawn_replies(body, asked, tokenizer, runtime, samples=samples, seed=seed,
                            temperature=temperature, longest=longest)
    items = [item for item in asked for _ in range(samples)]
    judged, rewards = judgements(items, rollout, tokenizer), source.raw(rollout)
    texts = [decode_reply(reply, tokenizer) for reply in rollout.replies()]

    def by_prompt(values) -> np.ndarray:
        return np.asarray(values, dtype=float).reshape(len(asked), samples).mean(1)

    return Quality(by_prompt([one.quality for one in judged]),
                   by_prompt([one.ceiling for one in judged]),
                   by_prompt([one.right for one in judged]), by_prompt(rewards),
                   by_prompt(rollout_kl(body, reference, rollout, runtime,
                                        temperature=temperature)),
                   by_prompt(rollout.rows.is_response.sum(1).cpu()),
                   by_prompt(rollout.ended.float().cpu()), float(rewards.std()),
                   manner_shares(items, texts),
                   sum(map(is_held_out_manner, texts)) / len(texts))


def drawn_replies(body, asked: list, tokenizer, runtime, *, samples: int, seed: int,
                  temperature: float, longest: int = LONGEST) -> Rollout:
    """`samples` replies to each item, each as if it were alone."""
    prompts = [encode_prompt(messages_of(item), tokenizer) for item in asked]
    rooms = [max(1, room_for(body, prompt, longest)) for prompt in prompts]
    return roll_out(body, prompts, rooms, end=tokenizer.end, pad=tokenizer.pad, copies=samples,
                    runtime=runtime, temperature=temperature,
                    generator=torch.Generator().manual_seed(seed))


def cool_quality(tuned, asked: list, tokenizer, runtime, *, samples: int = 2, seed: int = 0,
                 temperatures: tuple[float, ...] = COOL,
                 longest: int = LONGEST) -> tuple[float, np.ndarray]:
    """-> (the temperature at which the tuned model is best, its quality there by prompt, (P,)).

    The best is chosen on the same prompts that it is then measured on: in its favour.
    """
    means = {}
    for temperature in temperatures:
        rollout = drawn_replies(tuned, asked, tokenizer, runtime, samples=samples, seed=seed,
                                temperature=temperature, longest=longest)
        marks = judgements([item for item in asked for _ in range(samples)], rollout, tokenizer)
        quality = np.array([one.quality for one in marks])
        means[temperature] = quality.reshape(len(asked), -1).mean(1)
    best = max(means, key=lambda temperature: means[temperature].mean())
    return best, means[best]


def gain_interval(after: np.ndarray, before: np.ndarray, seed: int = 0,
                  resamplings: int = 2000) -> tuple[float, float, float]:
    """(P,), (P,) for the same prompts -> mean gain, and its 95% interval (eq. 8.3)."""
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


def greedy_answers(models: list, n: int, tokenizer, runtime, seed: int) -> dict:
    """Likeliest replies of the model before and after to n new questions -> what changed in them."""
    asked = draw_items(n, "new_items", seed=seed)
    before, after = (answer_items(model, tokenizer, asked, runtime) for model in models)

    def right(replies) -> float:
        return sum(answers_rightly(item, r.text) for item, r in zip(asked, replies)) / n

    return {"answer_right_before": right(before), "answer_right_after": right(after),
            "greedy_changed": sum(b.text != a.text for b, a in zip(before, after)) / n,
            "greedy_end_rate": sum(reply.ended for reply in after) / n}


def compare(body, reference, source, tokenizer, runtime, *, prompts: int, samples: int,
            exact: int, seed: int, longest: int = LONGEST) -> tuple[dict, Quality, Quality]:
    """The policy beside its reference -> (the metrics of ppo.json and dpo.json, after, before)."""
    asked = held_out_items(prompts, seed)
    before, after = (sampled_quality(model, reference, source, asked, tokenizer, runtime,
                                     samples=samples, seed=seed, longest=longest)
                     for model in (reference, body))
    best_at, cool = cool_quality(reference, asked, tokenizer, runtime, seed=seed,
                                 longest=longest)
    gain, low, high = gain_interval(after.quality, before.quality, seed)
    ahead, least, most = gain_interval(after.quality, cool, seed)
    old, new = before.means(), after.means()
    metrics = {"reward_before": old["reward"], "reward_after": new["reward"],
               "reward_std_before": before.spread,
               "quality_before": old["quality"], "quality_after": new["quality"],
               "quality_gain": gain, "quality_gain_interval": [low, high],
               "quality_ceiling": old["ceiling"],
               "way_to_the_ceiling": gain / max(old["ceiling"] - old["quality"], 1e-9),
               "quality_cool": float(cool.mean()), "cool_temperature": best_at,
               "ahead_of_cool": ahead, "ahead_of_cool_interval": [least, most],
               "sampled_right_before": old["right"], "sampled_right_after": new["right"],
               "rude_before": before.manners["rude"], "rude_after": after.manners["rude"],
               "idle_before": before.manners["idle"], "idle_after": after.manners["idle"],
               "by_manner_before": before.manners, "by_manner_after": after.manners,
               "held_out_manners_before": before.held_out,
               "held_out_manners_after": after.held_out,
               "kl": new["kl"], "length_before": old["length"], "length": new["length"],
               "end_rate": new["ended"]}
    if exact:
        metrics |= greedy_answers([reference, body], exact, tokenizer, runtime, seed + 1)
    return metrics, after, before
