"""What a model thinks, as numbers: from a request to what page.html draws.

Math   lens    p_l = softmax(E norm(x_l)): the last norm and the head after layer l    (eq. 9.9)
       KL_t    = sum_v π(v) (log π(v) − log π_ref(v)), before token t was drawn       (eq. 9.10)
Used   page.py, whose `Models` is the second argument of every view
See it python part_9/page.py
Shapes T tokens of the text, R of the reply, H query heads, K key heads, D head width, L layers
Source nostalgebraist 2020, "interpreting GPT: the logit lens"
"""

import time
from codecs import getincrementaldecoder

import torch
from gpt.layers import apply_rope, attend, make_plan
from reasoning.grpo import group_advantages
from reasoning.tool_use import say, spoken
from reasoning.tools import RUN
from rl.policy import response_logp
from rl.ppo import gae, leave_one_out, token_rewards
from rl.rollout import as_rollout, roll_out
from rl.scoring import RewardSource
from sft.chat_format import Message, decode_reply, encode_answer, encode_prompt
from sft.evaluation import is_chat_model
from text.bpe import SPLIT

from seeing.truth import Truth

MOST_LETTERS = 20_000  # of a text in a request
ROOM = 64  # tokens that are kept free for an answer


# ---------------------------------------------------------------- what a request is about

def number(request: dict, name: str, default, low, high, kind=int):
    """A number of a request, from low to high. `default` None: it may be left out."""
    value = request.get(name, default)
    if value is None and default is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, kind)) or not low <= value <= high:
        raise ValueError(f"{name} is {str(value)[:40]}; give a number from {low} to {high}")
    return kind(value)


def text_of(request: dict, name: str, default: str | None = None) -> str:
    value = request.get(name, default)
    if not isinstance(value, str) or len(value) > MOST_LETTERS:
        raise ValueError(f"{name} must be a text of at most {MOST_LETTERS:,} letters")
    return value.encode("utf-8", "replace").decode("utf-8")  # half a surrogate becomes "?"


def rows_of(request: dict, name: str, most: int) -> list:
    value = request.get(name, [])
    if not isinstance(value, list) or len(value) > most:
        raise ValueError(f"{name} must be a list of at most {most}")
    return value


class Subject:
    """A model, the ids of the prompt, and those of the reply so far. A chat model is given
    `messages`; any model goes on with a `text`, or with the ids of one as `prompt`."""

    def __init__(self, request: dict, models):
        self.name = text_of(request, "model")
        self.model, self.tokenizer = models.get(self.name)
        self.runtime, self.forgotten, self.is_chat = models.runtime, 0, "messages" in request
        limit, self.reply = self.model.config.block_size, self.reply_of(request)
        if self.is_chat:
            self.prompt = self.conversation(request, limit + 1 - len(self.reply))
        else:
            self.prompt = self.ids_of(request, "prompt") or \
                self.tokenizer.begun(text_of(request, "text"))
        if len(self.ids) > limit:
            raise ValueError(f"{len(self.ids)} tokens; the context holds {limit}: shorten it")

    @property
    def ids(self) -> list[int]:
        return self.prompt + self.reply

    def conversation(self, request: dict, limit: int) -> list[int]:
        """The prompt; the oldest turns are forgotten until there is room to reply."""
        if not is_chat_model(self.tokenizer):
            raise ValueError(f"{self.name} knows no roles; give it a text to go on with")
        turns, system = [], text_of(request, "system", "").strip()
        for row in rows_of(request, "messages", 200):
            if not isinstance(row, dict):
                raise ValueError("a message has a role and a content")
            turns.append(Message(text_of(row, "role"), text_of(row, "content")))
        room = 0 if self.reply else min(ROOM, limit // 2)
        first = [Message("system", system)] if system else []
        ids = encode_prompt([*first, *turns], self.tokenizer)
        while len(ids) + room > limit and len(turns) > 1:
            del turns[:2]
            self.forgotten += 2
            ids = encode_prompt([*first, *turns], self.tokenizer)
        return ids

    def reply_of(self, request: dict) -> list[int]:
        if isinstance(request.get("reply"), str):
            text = text_of(request, "reply").strip()
            return [*encode_answer(text, self.tokenizer), self.tokenizer.end] if text else []
        return self.ids_of(request, "reply")

    def ids_of(self, request: dict, name: str) -> list[int]:
        ids = rows_of(request, name, MOST_LETTERS)
        if not all(type(i) is int and 0 <= i < self.tokenizer.vocab_size for i in ids):
            raise ValueError(f"{name} must hold ids of this model's tokens")
        return list(ids)


def chat_view(request: dict, models):
    """Yield what happens while a reply is written; the last event says why it ended."""
    about, began, token = Subject(request, models), time.perf_counter(), None
    if about.forgotten:
        yield {"forgotten": about.forgotten}
    said, decoder = list(about.reply), getincrementaldecoder("utf-8")(errors="replace")
    for token, is_own in say(
            about.model, about.tokenizer, about.runtime, about.prompt, said,
            longest=number(request, "longest", 240, 1, 1000),
            temperature=number(request, "temperature", 0.0, 0, 100, float),
            top_k=number(request, "top_k", None, 1, 2**20),
            top_p=number(request, "top_p", None, 0, 1, float),
            seed=number(request, "seed", 0, 0, 2**31)):
        yield {"id": token, "own": is_own,
               "text": decoder.decode(about.tokenizer.decode_bytes([token]))}
    text_in = spoken if RUN in about.tokenizer.special else decode_reply
    yield {"done": "ended" if token == about.tokenizer.end else "cut off",
           "said": text_in(said, about.tokenizer), "seconds": time.perf_counter() - began}


def texts_of(ids: list[int], tokenizer) -> list[str]:
    """Each token by itself: half a character is U+FFFD, a special token its name."""
    return [tokenizer.decode([token]) for token in ids]


# ---------------------------------------------- under every token, inside, what training saw

@torch.inference_mode()
def under_tokens(model, tokenizer, ids: list[int], count: int = 10) -> dict:
    """Lists of T + 1, by place: what stands there and what could. Place 0 has nothing before it,
    and at place T nothing stands yet."""
    logp = model(torch.tensor([ids], device=model.head.weight.device))[0][0].float().log_softmax(-1)
    said = logp[:-1].gather(1, torch.tensor(ids[1:], device=logp.device)[:, None]).squeeze(1)
    entropy, top = -(logp.exp() * logp).sum(-1), logp.topk(min(count, logp.size(-1)))
    others = [[[i, tokenizer.decode([i]), p] for i, p in zip(*pair)]
              for pair in zip(top.indices.tolist(), top.values.exp().tolist())]
    return {"ids": ids, "texts": texts_of(ids, tokenizer), "p": [None, *said.exp().tolist(), None],
            "entropy": [None, *entropy.tolist()], "others": [[], *others]}


def attention_weights(attention, x: torch.Tensor, plan) -> torch.Tensor:
    """Normed stream (1, T, C) -> (H, T, T): row = who looks, column = at whom.

    The model's own `attend` with the identity in place of the values: what comes out are the
    weights, with the window as it is.
    """
    T, H, K, D = x.size(1), attention.H, attention.K, attention.D
    qk = attention.qkv(x).view(1, T, H + 2 * K, D)[:, :, :H + K]
    if attention.q_norm is not None:
        qk = torch.cat([attention.q_norm(qk[:, :, :H]), attention.k_norm(qk[:, :, H:])], dim=2)
    if plan.rotation is not None:
        qk = apply_rope(qk, *plan.rotation)
    q, k = (part.transpose(1, 2) for part in qk.split([H, K], dim=2))
    same = torch.eye(k.size(2), dtype=k.dtype, device=k.device).expand(1, K, -1, -1)
    return attend(q, k, same, plan)[0]  # (H, T, T)


@torch.inference_mode()
def inside(model, tokenizer, ids: list[int], layer: int) -> dict:
    """Walks through the blocks as the model does, and looks around after each.

    `attention` [H][T][0 … t] of `layer`; `lens` [L][T] the three likeliest next tokens (eq. 9.9);
    `experts` [L] None for a dense layer, or [T] the experts that were asked with their weights.
    """
    if not 0 <= layer < len(model.blocks):
        raise ValueError(f"layer {layer}: this model has layers 0 to {len(model.blocks) - 1}")
    config, row = model.config, torch.tensor([ids], device=model.head.weight.device)
    model.check(row, None, None)
    plan = make_plan(row.shape, row.device, window=config.window, table=model.table,
                     cache=None)
    view = {"layer": layer, "lens": [], "experts": [], "texts": texts_of(ids, tokenizer)}
    x = model.token_embedding(row)
    for number, block in enumerate(model.blocks):
        normed = block.norm_1(x)
        if number == layer:
            weights = attention_weights(block.attention, normed, plan)
            view["attention"] = [[[round(w, 4) for w in head[t][:t + 1]] for t in range(len(ids))]
                                 for head in weights.tolist()]
        x = x + block.attention(normed, plan)
        normed = block.norm_2(x)
        mixture, asked = getattr(block.mlp, "moe", block.mlp), None
        if hasattr(mixture, "router"):
            routing = mixture.router(normed[0])
            asked = [list(zip(*pair)) for pair in zip(routing.experts.tolist(),
                                                     routing.weights.tolist())]
        view["experts"].append(asked)
        x = x + block.mlp(normed)
        top = model.head(model.norm(x))[0].float().softmax(-1).topk(3)  # eq. 9.9
        words = {i: tokenizer.decode([i]) for i in top.indices.unique().tolist()}
        view["lens"].append([[[words[i], p] for i, p in zip(*pair)] for pair in
                             zip(top.indices.tolist(), top.values.tolist())])
    return view


@torch.inference_mode()
def training(model, tokenizer, runtime, prompt: list[int], reply: list[int], *,
             reward, mean: float, std: float, reference, policy=None,
             copies: int = 8, beta: float = 0.05, seed: int = 0) -> dict:
    """What the parts 7 to 9 would make of a reply, token by token.

    The reply is compared with copies - 1 others that the model draws to the same prompt, as in a
    step of PPO (leave-one-out, eq. 8.12) and of GRPO (eq. 9.2). `policy` has the value head; None:
    all values are 0, as when training begins.
    """
    longest = min(48, model.config.block_size + 1 - len(prompt))
    drawn = roll_out(model, [prompt], longest, end=tokenizer.end, pad=tokenizer.pad,
                     copies=copies - 1, generator=torch.Generator().manual_seed(seed),
                     runtime=runtime).replies()
    replies = [reply, *drawn]
    group = as_rollout([prompt] * copies, replies, [[0.0] * len(r) for r in replies],
                       tokenizer.end, tokenizer.pad, runtime.device, copies=copies)
    source = RewardSource(reward, mean, std, tokenizer.pad, runtime)
    scores = source(group).float()  # eq. 8.2
    own = group.rows.pick(torch.tensor([0], device=runtime.device))
    logp, ref_logp = response_logp(model, own), response_logp(reference, own)
    values = policy(own)[2] if policy is not None else torch.zeros_like(logp)
    compared = leave_one_out(scores, copies)[:1].to(logp.device)
    rewards = token_rewards(compared, logp, ref_logp, own.is_response, beta)
    first, ids = len(prompt), own.ids
    after = (reward.token_scores(ids, own.lengths - 1)[0, first:] - mean) / std
    rows = [body(ids[:, :-1])[0][0, first - 1:].float().log_softmax(-1)
            for body in (model, reference)]
    parts = rows[0].exp() * (rows[0] - rows[1])  # (R, V), eq. 9.10: their sum is the KL
    return {"texts": texts_of(reply, tokenizer), "score": after.tolist(),
            "value": values[0].tolist() if policy is not None else None,
            "logp": logp[0].tolist(), "ref_logp": ref_logp[0].tolist(),
            "kl": parts.sum(-1).tolist(),
            "most": [[tokenizer.decode([i]), float(rows[0][t, i].exp()), float(rows[1][t, i].exp())]
                     for t, i in enumerate(parts.argmax(-1).tolist())],
            "ppo": gae(rewards, values, own.is_response)[0][0].tolist(),
            "grpo": group_advantages(scores, copies)[0].item(),
            "group": [[tokenizer.decode([i for i in row if i != tokenizer.end]).strip(), score]
                      for row, score in zip(replies, scores.tolist())]}


# ---------------------------------------------------------------- the views, by their addresses

def tokens_view(request: dict, models) -> dict:
    about = Subject(request, models)
    return under_tokens(about.model, about.tokenizer, about.ids) | {"first": len(about.prompt)}


def inside_view(request: dict, models) -> dict:
    about = Subject(request, models)
    layer = number(request, "layer", 0, 0, about.model.config.n_layer - 1)
    view = inside(about.model, about.tokenizer, about.ids, layer)
    return view | {"first": len(about.prompt), "ids": about.ids}


def training_view(request: dict, models) -> dict:
    about, (reward, scorer, mean, std) = Subject(request, models), models.scorer()
    reference = text_of(request, "reference", models.reference_of(about.name))
    other, its_tokenizer = models.get(reference)
    if not about.is_chat or not about.reply:
        raise ValueError("training saw replies: ask a chat model, and let it answer")
    if its_tokenizer.fingerprint != about.tokenizer.fingerprint:
        raise ValueError(f"{about.name} and {reference} read other tokens: no KL between them, no "
                         "reward model for both; choose a model of the chain")
    if scorer.tokens != about.tokenizer.tokens or max(about.ids) >= scorer.vocab_size:
        raise ValueError("the reward model reads other tokens than this model writes")
    policy = models.values_for(about.tokenizer)
    return training(about.model, about.tokenizer, about.runtime, about.prompt, about.reply,
                    reward=reward, mean=mean, std=std, reference=other, policy=policy,
                    copies=number(request, "copies", 8, 2, 16),
                    seed=number(request, "seed", 0, 0, 2**31)) | {"reference": reference}


def truth_view(request: dict, models) -> dict:
    """What the model expects in a text of the little world, and what the world itself does; only
    as much of the text as the model's context holds."""
    text = text_of(request, "text")
    if not text.isascii() or not text:
        raise ValueError("the world's texts are plain English letters; this one is not")
    model, tokenizer = models.get(name := text_of(request, "model"))
    if tokenizer.pattern != SPLIT:
        raise ValueError(f"{name} reads other tokens than the chain's models, and has not read the "
                         "little world: choose a model of the chain")
    ids = [*tokenizer.begun(text), tokenizer.end]
    kept = ids[:model.config.block_size]
    told = Truth(tokenizer.decode(ids[1:-1]), tokenizer).places(len(kept) - 1)
    return under_tokens(model, tokenizer, kept) | told | {"is_whole": kept == ids}
