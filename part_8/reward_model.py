"""The reward model: the tuned transformer with one number in place of the vocabulary.

Math   r(prompt, reply) = w · h_T,  h_T the normed stream at the last real token         (eq. 7.8)
       with evidence:  r = w · h_T + Σ_t (z · h_t + a − c_t u_t), t over the reply       (eq. 7.9)
       u_t = 1 − p(x_t) / max_v p(v),  the doubt: 0 where the body itself would say x_t, near 1
       where it would say something else;  c_t = softplus(v · h_t + b), how much doubt counts there
Idea   The body has read the whole conversation by h_T, so one vector could be enough. But whether
       "58" is right is best known just before it is said: there the tuned model predicts its own
       answer. Evidence compares the two, with the vocabulary's head that the body brings along;
       v learns where a surprise is a mistake, and where it is only another way to say it; z lets
       every token add its own mark, so that a rude sentence is one wherever it stands.
       `bidirectional`: each token sees all others, as in an encoder: for comparison, and without
       evidence, as such a body has seen the token that it should predict.
Used   train_reward.py, evaluate_reward.py, score.py, and the parts after this one
Shapes B rows, T time, C = n_embd, V vocabulary, N tokens of replies in the batch; rows are padded
       on the RIGHT, `last` (B,) is the last real token
Source Ziegler et al. 2019; Stiennon et al. 2020, "Learning to summarize from human feedback"
"""

import math

import torch
import torch.nn.functional as F
from chat_format import Message, encode_prompt
from data import pad_rows
from faults import Reply
from layers import make_plan
from model import GPT
from sft_data import shortened
from tokenizer import Tokenizer
from torch import nn


class RewardModel(nn.Module):
    """(B, T) ids, (B,) last -> (B,) scores. Also: every token's score, for looking at.

    `reply_token`: the token that opens a reply, <|assistant|>; None: no evidence, eq. 7.8 alone.
    """

    def __init__(self, body: GPT, bidirectional: bool = False, reply_token: int | None = None):
        super().__init__()
        if bidirectional and reply_token is not None:
            raise ValueError("bidirectional=True has no evidence: such a body has already seen "
                             "the token that it should predict; use reply_token=None")
        if bidirectional and body.config.window is not None:
            raise ValueError(f"window={body.config.window} has no meaning where every token sees "
                             "all others; use bidirectional=False")
        self.body, self.bidirectional, self.reply_token = body, bidirectional, reply_token
        self.head = nn.Linear(body.config.n_embd, 1, bias=False)
        nn.init.normal_(self.head.weight, std=1 / math.sqrt(body.config.n_embd + 1))
        if reply_token is not None:
            self.care = nn.Linear(body.config.n_embd, 1)  # v, b
            self.mark = nn.Linear(body.config.n_embd, 1)  # z, a
            for layer in (self.care, self.mark):
                nn.init.zeros_(layer.weight)
                nn.init.zeros_(layer.bias)

    @property
    def config(self):
        return self.body.config

    def features(self, ids: torch.Tensor, last: torch.Tensor) -> torch.Tensor:
        """(B, T, C): the normed stream."""
        if not self.bidirectional:
            return self.body.features(ids)
        T = ids.size(1)
        plan = make_plan(ids.shape, ids.device, window=None, sink=0, table=self.body.table,
                         cache=None)
        plan.is_causal = False
        is_real = torch.arange(T, device=ids.device) <= last[:, None]  # (B, T) keys
        plan.is_visible = is_real[:, None, None, :].expand(-1, 1, T, -1)
        return self.body.features(ids, plan=plan)

    def reply_places(self, ids: torch.Tensor, last: torch.Tensor):
        """-> (rows, columns), (N,) each: the tokens behind the last `reply_token` of their row."""
        opened_later = (ids == self.reply_token).flip(1).cumsum(1).flip(1) > 0  # here or later
        is_real = torch.arange(ids.size(1), device=ids.device) <= last[:, None]
        is_reply = ~opened_later & is_real
        is_reply[:, 0] = False  # nothing stands before it that could predict it
        return is_reply.nonzero(as_tuple=True)

    def reply_logits(self, x: torch.Tensor, rows, columns) -> torch.Tensor:
        """(N, V): what the body expected where the tokens of the replies stand."""
        return self.body.head(x[rows, columns - 1]).float()

    def evidence(self, x, ids, rows, columns, logits) -> torch.Tensor:
        """(B, T): what each token adds to the score, eq. 7.9; 0 outside of the replies."""
        said = logits.gather(1, ids[rows, columns][:, None]).squeeze(1)
        doubt = 1 - (said - logits.amax(1)).exp()  # u_t: p's normaliser cancels
        h = x[rows, columns].float()
        care = F.softplus(self.care(h)).squeeze(1)  # c_t
        added = self.mark(h).squeeze(1) - care * doubt
        return torch.zeros(ids.shape, device=ids.device).index_put((rows, columns), added)

    def read_tokens(self, ids: torch.Tensor, last: torch.Tensor):
        """-> (scores (B, T), places (rows, columns) of the replies' tokens, logits (N, V) there).
        Without evidence the last two are None."""
        x = self.features(ids, last)
        scores = self.head(x.float()).squeeze(-1)  # float32: small differences matter
        if self.reply_token is None:
            return scores, None, None
        places = self.reply_places(ids, last)
        logits = self.reply_logits(x, *places)
        added = self.evidence(x, ids, *places, logits)
        return scores + added.cumsum(1), places, logits

    def token_scores(self, ids: torch.Tensor, last: torch.Tensor) -> torch.Tensor:
        """(B, T): what the score would be if the reply ended here (causal models only)."""
        return self.read_tokens(ids, last)[0]

    def read(self, ids: torch.Tensor, last: torch.Tensor):
        """As read_tokens, with the score of the whole reply: (B,)."""
        scores, places, logits = self.read_tokens(ids, last)
        return scores.gather(1, last[:, None]).squeeze(1), places, logits  # eq. 7.8, 7.9

    def forward(self, ids: torch.Tensor, last: torch.Tensor) -> torch.Tensor:
        return self.read(ids, last)[0]

    def new_parameters(self) -> list[nn.Parameter]:
        """All but the body's: w, and with evidence also v, b, z, a."""
        return [p for name, p in self.named_parameters() if not name.startswith("body.")]

    def count_parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters())


def encode_reply(prompt, reply: Reply, tokenizer: Tokenizer, context: int) -> list[int]:
    """The ids of prompt and reply. Too long: the oldest turns go, then the question's beginning;
    the reply stays whole. Raises ValueError where the reply alone does not fit."""
    answer = tokenizer.encode(f" {reply.text}") if reply.text else []
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


@torch.no_grad()
def score_rows(model: RewardModel, rows: list[list[int]], pad: int, runtime,
               size: int = 128) -> torch.Tensor:
    """Scores of rows of ids, (len(rows),), in batches of like length."""
    was_training = model.training
    model.eval()
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    scores = torch.zeros(len(rows))
    for first in range(0, len(order), size):
        part = order[first:first + size]
        last = torch.tensor([len(rows[i]) - 1 for i in part], device=runtime.device)
        ids = pad_rows([rows[i] for i in part], pad).to(runtime.device)
        with runtime.autocast():
            scores[part] = model(ids, last).float().cpu()
    model.train(was_training)
    return scores
