"""The reward model: the tuned transformer with one number in place of the vocabulary.

Math   r(prompt, reply) = w · h_T,  h_T the normed stream at the last real token         (eq. 7.3)
       with a witness:  r = w · h_T − Σ_t (m_t + c_t u_t), t over the reply              (eq. 7.4)
       u_t = 1 − p(x_t) / max_x p(x),  the doubt: 0 where the witness itself would say x_t, near 1
       where it would say something else;  c_t = softplus(v · h_t + b), how much doubt counts there;
       m_t = softplus(z · h_t + a), what the token costs by itself
Idea   The body has read the whole conversation by h_T, so one vector could be enough. But whether
       "58" is right is best known just before it is said: there the tuned model predicts its own
       answer. So the tuned model is kept beside the body, frozen, as a witness: p is what it
       expects. The body learns what to make of it: v where a surprise is a mistake, and where it
       is only another way to say it; z where a token is rude or idle, wherever it stands. A token
       can only cost: where all could also earn, three bananas may earn more than a right answer.
       Frozen, as a body that learns to compare forgets what to say.
       `bidirectional`: each token sees all others, as in an encoder: for comparison.
Used   train_reward.py, evaluate_reward.py, score.py, and the parts after this one
Shapes B rows, T time, C = n_embd, V vocabulary, N tokens of replies in the batch; rows are padded
       on the RIGHT, `last` (B,) is the last real token
Source Ziegler et al. 2019; Stiennon et al. 2020, "Learning to summarize from human feedback"
"""

import copy
import math

import torch
import torch.nn.functional as F
from gpt.layers import make_plan
from gpt.model import GPT
from sft.chat_format import Message, encode_answer, encode_prompt
from sft.data import shortened
from text.rows import pad_rows
from text.tokenizer import Tokenizer
from torch import nn

from reward.faults import Reply
from reward.siblings import SharedRows, share_prompts


class PlainRewardModel(nn.Module):
    """The standard form, eq. 7.3 and nothing else: (B, T) ids, (B,) last -> (B,) scores."""

    def __init__(self, body: GPT):
        super().__init__()
        self.body = body
        self.head = nn.Linear(body.config.n_embd, 1, bias=False)
        nn.init.normal_(self.head.weight, std=1 / math.sqrt(body.config.n_embd + 1))

    def token_scores(self, ids: torch.Tensor) -> torch.Tensor:
        """(B, T): what the score would be if the reply ended here."""
        return self.head(self.body.features(ids).float()).squeeze(-1)

    def forward(self, ids: torch.Tensor, last: torch.Tensor) -> torch.Tensor:
        """(B,): the score at the last real token; what stands behind it is padding."""
        return self.token_scores(ids).gather(1, last[:, None]).squeeze(1)


class RewardModel(PlainRewardModel):
    """The same with a witness, eq. 7.4, and with replies to one prompt read together.

    `reply_token`: the token that opens a reply, <|assistant|>; a frozen copy of `body` as it is now
    becomes the witness. None: no witness, eq. 7.3 alone. `witness`: in place of that copy, as where
    the body learns by LoRA: its own weights without the detours (sft/lora.py).
    """

    def __init__(self, body: GPT, bidirectional: bool = False, reply_token: int | None = None,
                 witness: GPT | None = None):
        super().__init__(body)
        if bidirectional and reply_token is not None:
            raise ValueError("bidirectional=True is for comparing bodies by eq. 7.3 alone; use "
                             "reply_token=None")
        if bidirectional and body.config.window is not None:
            raise ValueError(f"window={body.config.window} has no meaning where every token sees "
                             "all others; use bidirectional=False")
        self.bidirectional, self.reply_token = bidirectional, reply_token
        self.witness = None
        if reply_token is not None:
            witness = copy.deepcopy(body) if witness is None else witness
            self.witness = witness.eval().requires_grad_(False)
            self.care = nn.Linear(body.config.n_embd, 1)  # v, b
            self.cost = nn.Linear(body.config.n_embd, 1)  # z, a
            for layer, start in ((self.care, 0.0), (self.cost, -3.0)):  # a token costs 0.05
                nn.init.zeros_(layer.weight)
                nn.init.constant_(layer.bias, start)

    def train(self, mode: bool = True) -> "RewardModel":
        """As always, but for the witness, which is never in training mode."""
        super().train(mode)
        if self.witness is not None:
            self.witness.eval()
        return self

    @property
    def config(self):
        return self.body.config

    @property
    def can_share(self) -> bool:
        """Can replies to one prompt stand in one row? Where it is known how a reply opens, and a
        prompt does not see its replies: with a witness."""
        return self.reply_token is not None

    def features(self, ids: torch.Tensor, last: torch.Tensor,
                 shared: SharedRows | None = None, body: GPT | None = None) -> torch.Tensor:
        """(B, T, C): the normed stream of `body` (the model's own). `shared`: how the rows can be
        read together."""
        body = self.body if body is None else body
        if shared is not None:
            x = body.features(shared.take(ids), plan=shared.plan(body))
            return shared.give_back(x, ids.size(1))
        if not self.bidirectional:
            return body.features(ids)
        T = ids.size(1)
        plan = make_plan(ids.shape, ids.device, window=None, table=body.table, cache=None)
        plan.is_causal = False
        is_real = torch.arange(T, device=ids.device) <= last[:, None]  # (B, T) keys
        plan.is_visible = is_real[:, None, None, :].expand(-1, 1, T, -1)
        return body.features(ids, plan=plan)

    def reply_places(self, ids: torch.Tensor, last: torch.Tensor):
        """-> (rows, columns), (N,) each: the tokens behind the last `reply_token` of their row."""
        opened_later = (ids == self.reply_token).flip(1).cumsum(1).flip(1) > 0  # here or later
        is_real = torch.arange(ids.size(1), device=ids.device) <= last[:, None]
        is_reply = ~opened_later & is_real
        is_reply[:, 0] = False  # nothing stands before it that could predict it
        return is_reply.nonzero(as_tuple=True)

    @torch.no_grad()
    def doubts(self, ids, last, rows, columns, shared: SharedRows | None = None) -> torch.Tensor:
        """(N,): how far behind the witness's own choice each token of the replies is, u_t."""
        x = self.features(ids, last, shared, self.witness)
        logits = self.witness.head(x[rows, columns - 1]).float()  # (N, V)
        said = logits.gather(1, ids[rows, columns][:, None]).squeeze(1)
        return 1 - (said - logits.amax(1)).exp()  # p's normaliser cancels

    def token_scores(self, ids: torch.Tensor, last: torch.Tensor,
                     shared: SharedRows | None = None) -> torch.Tensor:
        """(B, T): what the score would be if the reply ended here (causal models only)."""
        x = self.features(ids, last, shared).float()  # float32: small differences matter
        scores = self.head(x).squeeze(-1)
        if self.witness is None:
            return scores
        rows, columns = self.reply_places(ids, last)
        h = x[rows, columns]
        care = F.softplus(self.care(h)).squeeze(1)  # c_t
        cost = F.softplus(self.cost(h)).squeeze(1)  # m_t
        taken = cost + care * self.doubts(ids, last, rows, columns, shared)
        taken = torch.zeros(ids.shape, device=ids.device).index_put((rows, columns), taken)
        return scores - taken.cumsum(1)

    def forward(self, ids: torch.Tensor, last: torch.Tensor,
                shared: SharedRows | None = None) -> torch.Tensor:
        """(B,): the score of the whole reply, eq. 7.3 or 7.4."""
        return self.token_scores(ids, last, shared).gather(1, last[:, None]).squeeze(1)

    def prompt_length(self, row) -> int:
        """How many of a row's tokens stand in front of its reply."""
        return next((n for n in range(len(row) - 1, 0, -1) if row[n - 1] == self.reply_token), 1)

    @property
    def bodies(self) -> list[GPT]:
        """The GPTs inside."""
        return [self.body] if self.witness is None else [self.body, self.witness]

    def new_parameters(self) -> list[nn.Parameter]:
        """All but the body's: w, and with a witness also v, b, z, a."""
        return [p for name, p in self.named_parameters()
                if not name.startswith(("body.", "witness."))]

    def count_parameters(self) -> int:
        """What can learn: all but the witness."""
        return sum(p.numel() for name, p in self.named_parameters()
                   if not name.startswith("witness."))


def encode_reply(prompt, reply: Reply, tokenizer: Tokenizer, context: int) -> list[int]:
    """The ids of prompt and reply. Too long: the oldest turns go, then the question's beginning;
    the reply stays whole. Raises ValueError where the reply alone does not fit."""
    said = reply.text.lstrip()  # a blank of one's own would be a second one, and another token
    answer = encode_answer(said, tokenizer) if said else []
    if reply.ended or not answer:  # nothing said, and not ended: there would be nothing to read
        answer.append(tokenizer.end)
    ids = encode_prompt(list(prompt), tokenizer) + answer
    if len(ids) > context:
        room = context - len(answer)
        kept = shorter_prompt(list(prompt), tokenizer, room)
        if kept is None:
            raise ValueError(f"a reply of {len(answer)} tokens leaves no room for its question in "
                             f"a context of {context}")
        ids = encode_prompt(kept, tokenizer) + answer
    return ids


def shorter_prompt(messages: list[Message], tokenizer: Tokenizer, room: int):
    """The end of a conversation that fits into `room` tokens, or None."""
    kept = shortened([*messages, Message("assistant", "x")], tokenizer, room + 1)
    return kept[:-1] if kept and len(encode_prompt(kept[:-1], tokenizer)) <= room else None


def prompts_of(model: RewardModel, rows: list) -> list[tuple[int, ...]]:
    """What stands in front of each row's reply."""
    return [tuple(row[:model.prompt_length(row)]) for row in rows]


def sharing(model: RewardModel, rows: list, device=None) -> SharedRows | None:
    """How rows of ids can be read together; None where the model reads each by itself."""
    if not model.can_share:
        return None
    prompts = prompts_of(model, rows)
    return share_prompts(prompts, [len(prompt) for prompt in prompts],
                         [len(row) - len(prompt) for row, prompt in zip(rows, prompts)],
                         widest=model.config.block_size, device=device)


@torch.no_grad()
def score_rows(model: RewardModel, rows: list[list[int]], pad: int, runtime,
               size: int = 128) -> torch.Tensor:
    """Scores of rows of ids, (len(rows),), in batches of like length, prompt by prompt."""
    was_training = model.training
    model.eval()
    prompts = prompts_of(model, rows) if model.can_share else [()] * len(rows)
    order = sorted(range(len(rows)), key=lambda i: (len(prompts[i]), prompts[i], len(rows[i])))
    scores = torch.zeros(len(rows))
    for first in range(0, len(order), size):
        part = order[first:first + size]
        few = [rows[i] for i in part]
        last = torch.tensor([len(row) - 1 for row in few], device=runtime.device)
        ids = pad_rows(few, pad).to(runtime.device)
        with runtime.autocast():
            batch_scores = model(ids, last, sharing(model, few, runtime.device))
        scores[part] = batch_scores.float().cpu()
    model.train(was_training)
    return scores
