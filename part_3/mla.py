"""Multi-head latent attention: cache one short vector per token instead of keys and values.

Math   c_s = norm(W_dkv x_s), width r;   r_s = rope(W_kr x_s), width D_r: all that is cached
       naive     k_s = [W_uk c_s | r_s],  v_s = W_uv c_s,  then plain attention         (eq. 3.9)
       absorbed  q . (W_uk c_s) = (W_uk^T q) . c_s: turn the query round once, look at
                 c_s itself, and apply W_uv to the weighted sum of c_s                  (eq. 3.10)
Used   model.py (attention="mla").   See it: python demo_mla.py
Shapes B batch, T queries, N keys, H heads, D head width, D_r its turned part, r = kv_rank
Source DeepSeek-AI 2024, "DeepSeek-V2", section 2.1

Why a turned part of its own: a rotation between W_uk^T and c_s would depend on the position, and
could not be absorbed. All heads share r_s. Absorbed, MLA is attention with one key/value head of
width r + D_r whose values are the first r channels of its keys.
"""

import math

import torch
from attention import Plan, attend, gather_keys
from rmsnorm import RMSNorm
from rope import apply_rope
from torch import nn


class LatentAttention(nn.Module):
    """(B, T, C) -> (B, T, C). The cache holds r + D_r numbers per token and layer."""

    def __init__(self, config, layer: int):
        super().__init__()
        self.layer, self.dropout = layer, config.dropout
        self.H, self.D = config.n_head, config.head_dim
        self.r, self.D_r = config.kv_rank, config.rope_dim
        C, H, D, D_n = config.n_embd, self.H, self.D, self.D - self.D_r
        self.query = nn.Linear(C, H * D, bias=config.bias)  # a head: [plain | D_r turned]
        self.down = nn.Linear(C, self.r + self.D_r, bias=config.bias)  # W_dkv, then W_kr
        self.norm = RMSNorm(self.r, config.norm_eps)
        self.up_key = nn.Linear(self.r, H * D_n, bias=False)  # W_uk
        self.up_value = nn.Linear(self.r, H * D, bias=False)  # W_uv
        self.project = nn.Linear(H * D, C, bias=config.bias)

    def forward(self, x: torch.Tensor, plan: Plan, *, absorb: bool | None = None) -> torch.Tensor:
        """`absorb`: which of the two forms; by default the cheaper: absorbed for few queries."""
        B, T, _ = x.shape
        q = self.query(x).view(B, T, self.H, self.D)
        c, r = self.down(x).split([self.r, self.D_r], dim=-1)
        q_plain, q_turn = q.split([self.D - self.D_r, self.D_r], dim=-1)
        q_turned = apply_rope(q_turn, *plan.rotation)
        q_sink = None
        if plan.sink_rotation is not None:
            q_sink = apply_rope(q_turn, *plan.sink_rotation)
        latent = torch.cat([self.norm(c), apply_rope(r[:, :, None], *plan.rotation)[:, :, 0]], -1)
        latent, _ = gather_keys(plan, self.layer, latent[:, None], latent[:, None, :, :0])
        if absorb is None:
            absorb = 8 * T <= latent.size(2)
        form = self.absorbed if absorb else self.naive
        out = form(q_plain, q_turned, q_sink, latent, plan)  # (B, H, T, D)
        return self.project(out.transpose(1, 2).reshape(B, T, self.H * self.D))

    def naive(self, q_plain, q_turned, q_sink, latent, plan: Plan) -> torch.Tensor:
        """Make all keys and values, then attend: best where each is used by many queries."""
        B, _, N, _ = latent.shape
        c, r = latent[:, 0].split([self.r, self.D_r], dim=-1)
        k = self.up_key(c).view(B, N, self.H, self.D - self.D_r)
        k = torch.cat([k, r[:, :, None].expand(-1, -1, self.H, -1)], -1).transpose(1, 2)
        v = self.up_value(c).view(B, N, self.H, self.D).transpose(1, 2)
        q = torch.cat([q_plain, q_turned], dim=-1).transpose(1, 2)
        if q_sink is not None:
            q_sink = torch.cat([q_plain, q_sink], dim=-1).transpose(1, 2)
        return attend(q, k, v, plan, q_sink, dropout=self.dropout if self.training else 0.0)

    def absorbed(self, q_plain, q_turned, q_sink, latent, plan: Plan) -> torch.Tensor:
        """Never make keys or values: best where few queries meet a long cache."""
        W_uk = self.up_key.weight.view(self.H, self.D - self.D_r, self.r)
        W_uv = self.up_value.weight.view(self.H, self.D, self.r)
        q_plain = q_plain.transpose(1, 2) @ W_uk  # (B, H, T, r), eq. 3.10
        q = torch.cat([q_plain, q_turned.transpose(1, 2)], dim=-1)
        if q_sink is not None:
            q_sink = torch.cat([q_plain, q_sink.transpose(1, 2)], dim=-1)
        out = attend(q, latent, latent[..., :self.r], plan, q_sink, scale=1 / math.sqrt(self.D),
                     dropout=self.dropout if self.training else 0.0)
        return out @ W_uv.transpose(1, 2)  # (B, H, T, D)
