"""Rollouts: replies drawn from the policy, many at once, with their log-probabilities.

Idea   The prompts are read once, however many replies each gets; then one pass a token for all
       rows together. A row that has drawn its end token leaves: it costs nothing any more.
Rule   Drawn from the plain distribution at one temperature, without top-k or top-p, and the
       log-probability is kept of just that distribution. The end token is part of the reply.
Used   rl/ppo_loop.py, evaluate_ppo.py, benchmark_rollout.py
Shapes B rows (prompts x copies), V vocabulary, R tokens of the longest reply
"""

from dataclasses import dataclass

import torch
from gpt.generate import check_request, filled, pad_left, prefill
from text.rows import pad_rows

from rl.policy import Rows


@dataclass(frozen=True)
class Rollout:
    """What was drawn. Row i answers prompts[i // copies]."""

    rows: Rows
    logp: torch.Tensor  # (B, R) of each token as it was drawn, zero outside the replies
    ended: torch.Tensor  # (B,) True: the model ended the reply itself

    def token_rows(self) -> list[list[int]]:
        """Prompt and reply of each row as a list, without padding."""
        return [row[:n].tolist() for row, n in zip(self.rows.ids, self.rows.lengths.tolist())]

    def replies(self) -> list[list[int]]:
        """The reply's tokens of each row, its end token included."""
        return [row[start:] for row, start in zip(self.token_rows(), self.rows.first.tolist())]


def draw(logits: torch.Tensor, temperature: float, generator: torch.Generator | None,
         chance: torch.Tensor | None = None):
    """(B, V) scores -> tokens (B,) and their log-probabilities (B,). `chance`: (B, 1) numbers that
    were drawn before.

    A uniform number is looked up in the cumulated probabilities: one random number a row, where
    torch.multinomial draws one for every token of the vocabulary.
    """
    logp = (logits.float() / temperature).log_softmax(-1)
    cumulated = logp.exp().cumsum(-1, dtype=torch.float64)
    if chance is None:
        chance = torch.rand(len(logits), 1, dtype=torch.float64, generator=generator)
    target = chance.to(logits.device) * cumulated[:, -1:]
    tokens = torch.searchsorted(cumulated, target, right=True).clamp(max=logits.size(-1) - 1)
    return tokens.squeeze(1), logp.gather(1, tokens).squeeze(1)


def repeat_rows(cache, copies: int) -> None:
    """Each row of a cache `copies` times, side by side: the prompts were read once."""
    cache.keys = [x.repeat_interleave(copies, 0) for x in cache.keys]
    cache.values = [x.repeat_interleave(copies, 0) for x in cache.values]
    if cache.start is not None:
        cache.start = cache.start.repeat_interleave(copies)


def grow_room(cache, room: int) -> None:
    """Slots for `room` more tokens in a plain cache; a rolling one needs none."""
    if cache.rolling:
        return
    cache.length = cache.ring = cache.seen + room
    for many in (cache.keys, cache.values):
        for i, x in enumerate(many):
            wider = x.new_empty(*x.shape[:2], cache.length, x.size(3))
            wider[:, :, :cache.seen] = x[:, :, :cache.seen]
            many[i] = wider


@torch.inference_mode()
def draw_batch(model, prompts: list[list[int]], max_new: int, *, end: int, copies: int = 1,
               temperature: float = 1.0, generator: torch.Generator | None = None,
               look_every: int = 1, uniform: torch.Tensor | None = None
               ) -> tuple[list[list[int]], list[list[float]]]:
    """Replies and their log-probabilities, `copies` for each prompt, in the order of the prompts.

    `look_every`: steps between looks at which rows have ended. On a GPU each look makes the CPU
    wait; a row that has ended is carried along until the next.
    """
    device = next(model.parameters()).device
    ids, start = pad_left(prompts)
    cache = model.make_cache(len(prompts), ids.size(1), start=start)
    logits = prefill(model, ids.to(device), cache)
    repeat_rows(cache, copies)
    grow_room(cache, max_new - 1)
    logits = logits.repeat_interleave(copies, 0)
    rows = list(range(len(logits)))  # rows[i]: whose reply row i of the batch is
    replies, logps = [[] for _ in rows], [[] for _ in rows]
    pending = []  # (tokens, logp) of the steps since the last look
    for step in range(1, max_new + 1):
        own = None if uniform is None else uniform[rows, step - 1].unsqueeze(1)
        tokens, logp = draw(logits, temperature, generator, own)
        pending.append((tokens, logp))
        if step % look_every == 0 or step == max_new:
            table = torch.stack([t for t, _ in pending]).tolist()
            chances = torch.stack([p for _, p in pending]).tolist()
            pending, going = [], []
            for i, row in enumerate(rows):
                for line, chance in zip(table, chances):
                    replies[row].append(line[i])
                    logps[row].append(chance[i])
                    if line[i] == end:
                        break
                else:
                    going.append(i)
            if not going or step == max_new:
                break
            if len(going) < len(rows):
                kept = filled(going)
                rows = [rows[i] for i in kept]
                kept = torch.tensor(kept, device=device)
                cache.keep(kept)
                tokens = tokens[kept]
        logits = model(tokens[:, None], cache=cache, last_only=True)[0][:, -1]
    return replies, logps


def roll_out(model, prompts: list[list[int]], max_new: int | list[int], *, end: int, pad: int,
             copies: int = 1, temperature: float = 1.0, size: int = 256,
             generator: torch.Generator | None = None, runtime=None,
             look_every: int = 1, uniform: torch.Tensor | None = None) -> Rollout:
    """`copies` replies of at most `max_new` tokens (a number, or one for each prompt) to each
    prompt, in batches of at most `size` rows of like prompt length. The model is in eval mode
    meanwhile: no dropout. `uniform` (rows, max_new): a random number for every token of every row,
    in place of the generator: then a reply does not depend on what is drawn beside it.

    Raises ValueError where a prompt with its reply does not fit into the context.
    """
    if copies < 1 or not temperature > 0:
        raise ValueError(f"copies={copies} must be at least 1, temperature={temperature} above 0")
    rooms = [max_new] * len(prompts) if isinstance(max_new, int) else max_new
    for room in sorted(set(rooms)) or [1]:
        check_request(model, [p for p, own in zip(prompts, rooms) if own == room], room, False, None)
    was_training = model.training
    model.eval()
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    many = max(1, size // copies)
    so_far = [([], []) for _ in range(len(prompts) * copies)]  # a reply and its log-probabilities
    with runtime.autocast() if runtime else torch.no_grad():
        for begin in range(0, len(order), many):
            draw_rows(model, prompts, rooms, order[begin:begin + many], so_far, end=end,
                      copies=copies, temperature=temperature, generator=generator,
                      look_every=look_every, uniform=uniform)
    model.train(was_training)
    replies, logps = zip(*so_far)
    return as_rollout([p for p in prompts for _ in range(copies)], replies, logps, end, pad,
                      next(model.parameters()).device, copies=copies)


def draw_rows(model, prompts, rooms, part: list[int], so_far: list[tuple[list, list]], *, end: int,
              copies: int, uniform: torch.Tensor | None, **settings) -> None:
    """The replies to the prompts `part`, each as if it were alone, are added to `so_far`.

    All are drawn for as long as each of them has room; the few that then have not ended, and have
    more room than others, go on without those.
    """
    going = [i * copies + copy for i in part for copy in range(copies)]
    asked = [prompts[i] for i in part]
    while going:
        room = min(rooms[row // copies] - len(so_far[row][0]) for row in going)
        drawn = draw_batch(model, asked, room, end=end, copies=len(going) // len(asked), **settings,
                           uniform=None if uniform is None else
                           uniform[going, len(so_far[going[0]][0]):])
        for row, text, chances in zip(going, *drawn, strict=True):
            so_far[row][0].extend(text)
            so_far[row][1].extend(chances)
        going = [row for row in going if so_far[row][0][-1] != end
                 and len(so_far[row][0]) < rooms[row // copies]]
        asked = [prompts[row // copies] + so_far[row][0] for row in going]


def as_rollout(prompts: list[list[int]], replies: list[list[int]], logps: list[list[float]],
               end: int, pad: int, device="cpu", *, copies: int = 1) -> Rollout:
    """Lists -> tensors, padded on the right. Each prompt comes `copies` times, side by side."""
    lengths = torch.tensor([len(reply) for reply in replies])
    is_response = torch.arange(int(lengths.max())) < lengths[:, None]  # (B, R)
    rows = Rows(pad_rows([[*p, *r] for p, r in zip(prompts, replies)], pad),
                torch.tensor([len(p) for p in prompts]), is_response,
                torch.arange(len(prompts)) // copies)
    logp = torch.zeros(is_response.shape)
    logp[is_response] = torch.tensor([x for row in logps for x in row])
    return Rollout(rows.to(device), logp.to(device),
                   torch.tensor([reply[-1] == end for reply in replies], device=device))
