"""Right attempts that are written differently from ours, continued: four more topics."""

MORE_STYLES = {
    "3.2": [{
        "rope_frequencies": """
    if head_dim < 2 or head_dim % 2 != 0:
        raise ValueError(f"head_dim={head_dim} must be even")
    if scaling not in SCALINGS:
        raise ValueError(f"rope_scaling={scaling!r}: choose one of {SCALINGS}")
    if scaling == "ntk" and head_dim > 2:
        theta = theta * factor ** (head_dim / (head_dim - 2))
    elif scaling == "ntk":
        theta = theta * factor ** 2
    found = []
    for i in range(head_dim // 2):
        w = 1.0 / theta ** (2 * i / head_dim)
        if scaling == "linear":
            w = w / factor
        elif scaling == "llama3":
            turns = trained * w / (2 * math.pi)
            kept = min(1.0, max(0.0, (turns - low) / (high - low)))
            w = w * (kept + (1 - kept) / factor)
        found.append(w)
    return torch.tensor(found, dtype=torch.float64)""",
        "RotaryTable.compute": """
        angle = torch.einsum("...,d->...d", positions.cpu().double(), self.frequency)
        cos, sin = torch.cos(angle), torch.sin(angle)
        return cos.to(positions.device, torch.float32), sin.to(positions.device, torch.float32)""",
        "apply_rope": """
    half = x.size(-1) // 2
    out = torch.empty_like(x)
    cos, sin = cos.to(x.dtype), sin.to(x.dtype)
    out[..., :half] = x[..., :half] * cos - x[..., half:] * sin
    out[..., half:] = x[..., half:] * cos + x[..., :half] * sin
    return out""",
        "apply_rope_interleaved": """
    out = torch.empty_like(x)
    out[..., 0::2] = x[..., 0::2] * cos - x[..., 1::2] * sin
    out[..., 1::2] = x[..., 1::2] * cos + x[..., 0::2] * sin
    return out""",
        "interleaved_to_halves": """
    return torch.tensor([*range(0, head_dim, 2), *range(1, head_dim, 2)])"""}, {
        "rope_frequencies": """
    if head_dim % 2 or head_dim <= 0:
        raise ValueError(f"head_dim={head_dim} must be even")
    if scaling not in SCALINGS:
        raise ValueError(f"rope_scaling={scaling!r} is unknown")
    base = theta * (factor ** (head_dim / max(head_dim - 2, 1)) if scaling == "ntk" else 1.0)
    exponent = torch.arange(head_dim // 2, dtype=torch.float64) * 2 / head_dim
    w = torch.exp(-exponent * math.log(base))
    if scaling == "linear":
        return w / factor
    if scaling == "llama3":
        kept = torch.clamp((trained * w / math.tau - low) / (high - low), 0.0, 1.0)
        return kept * w + (1 - kept) * w / factor
    return w""",
        "RotaryTable.compute": """
        angle = positions.cpu().to(torch.float64).unsqueeze(-1) * self.frequency
        turned = torch.polar(torch.ones_like(angle), angle)
        return (turned.real.float().to(positions.device),
                turned.imag.float().to(positions.device))""",
        "apply_rope": """
    cos, sin = torch.cat([cos, cos], -1).to(x.dtype), torch.cat([sin, sin], -1).to(x.dtype)
    half = x.size(-1) // 2
    turned = torch.cat([-x[..., half:], x[..., :half]], dim=-1)
    return x * cos + turned * sin""",
        "apply_rope_interleaved": """
    pairs = x.view(*x.shape[:-1], -1, 2)
    a, b = pairs.unbind(-1)
    return torch.stack((a * cos - b * sin, a * sin + b * cos), -1).reshape(x.shape)""",
        "interleaved_to_halves": """
    order = torch.arange(head_dim)
    return torch.cat([order[0::2], order[1::2]])"""}, {
        "rope_frequencies": """
    if not (head_dim >= 2 and head_dim % 2 == 0):
        raise ValueError(f"head_dim={head_dim} must be even: channels turn in pairs")
    if scaling not in SCALINGS:
        raise ValueError(f"rope_scaling={scaling!r}")
    if scaling == "ntk":
        theta *= factor ** (head_dim / max(1, head_dim - 2))
    pairs = torch.linspace(0, head_dim - 2, head_dim // 2, dtype=torch.float64)
    frequency = torch.pow(torch.tensor(theta, dtype=torch.float64), -pairs / head_dim)
    if scaling == "linear":
        frequency /= factor
    elif scaling == "llama3":
        wavelength = 2 * math.pi / frequency
        share = ((trained / wavelength - low) / (high - low)).clamp(min=0, max=1)
        frequency = torch.lerp(frequency / factor, frequency, share)
    return frequency""",
        "RotaryTable.compute": """
        where = positions.cpu()
        angle = where.reshape(-1, 1).double() * self.frequency.reshape(1, -1)
        angle = angle.reshape(*where.shape, -1)
        return tuple(f(angle).float().to(positions.device) for f in (torch.cos, torch.sin))""",
        "apply_rope": """
    first, second = torch.tensor_split(x, 2, dim=-1)
    turned = torch.complex(first.float(), second.float()) * torch.complex(cos.float(), sin.float())
    return torch.cat([turned.real, turned.imag], dim=-1).to(x.dtype) if x.dtype != torch.float64 \\
        else torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)""",
        "apply_rope_interleaved": """
    even, odd = x[..., ::2], x[..., 1::2]
    new_even, new_odd = even * cos - odd * sin, even * sin + odd * cos
    return torch.stack([new_even, new_odd], dim=-1).flatten(start_dim=-2)""",
        "interleaved_to_halves": """
    return torch.arange(head_dim).reshape(head_dim // 2, 2).t().reshape(-1)"""}],
    "5.1": [{
        "gate_scores": """
    return torch.softmax(logits, -1) if gate == "softmax" else 1 / (1 + torch.exp(-logits))""",
        "choose_experts": """
    ranking = scores.clone().detach()
    if bias is not None:
        ranking += bias
    if noise is not None:
        ranking += noise
    _, experts = torch.topk(ranking, k, dim=1)
    weights = torch.gather(scores, 1, experts)
    return experts, (weights / weights.sum(dim=1, keepdim=True) if renormalize else weights)""",
        "count_load": """
    return torch.stack([(experts == e).sum() for e in range(n_expert)])"""}, {
        "gate_scores": """
    if gate != "softmax":
        return torch.sigmoid(logits)
    e = (logits - logits.amax(-1, keepdim=True)).exp()
    return e / e.sum(-1, keepdim=True)""",
        "choose_experts": """
    with torch.no_grad():
        ranking = scores + (0 if bias is None else bias) + (0 if noise is None else noise)
        experts = ranking.argsort(dim=-1, descending=True, stable=True)[:, :k]
    weights = torch.take_along_dim(scores, experts, dim=-1)
    if renormalize:
        weights = torch.nn.functional.normalize(weights, p=1.0, dim=-1)
    return experts, weights""",
        "count_load": """
    return F.one_hot(experts.flatten(), n_expert).sum(0)"""}, {
        "gate_scores": """
    return {"softmax": lambda z: z.log_softmax(-1).exp(), "sigmoid": torch.sigmoid}[gate](logits)""",
        "choose_experts": """
    ranking = scores.detach()
    if bias is not None:
        ranking = ranking + bias
    if noise is not None:
        ranking = ranking + noise
    chosen = []
    for _ in range(k):
        best = ranking.argmax(-1, keepdim=True)
        chosen.append(best)
        ranking = ranking.scatter(-1, best, -math.inf)
    experts = torch.cat(chosen, dim=-1)
    weights = scores[torch.arange(len(scores))[:, None], experts]
    total = weights.sum(-1, keepdim=True) if renormalize else 1.0
    return experts, weights / total""",
        "count_load": """
    load = torch.zeros(n_expert, dtype=torch.int64, device=experts.device)
    return load.index_add(0, experts.flatten(), torch.ones_like(experts.flatten()))"""}],
    "7.3": [{
        "bradley_terry": """
    check_scores(chosen, rejected)
    if smoothing < 0 or smoothing >= 0.5:
        raise ValueError(f"smoothing={smoothing} must be at least 0 and below 0.5")
    d = chosen - rejected - margin
    right, wrong = F.softplus(-d), F.softplus(d)
    return ((1 - smoothing) * right + smoothing * wrong).mean()""",
        "margin_ranking": """
    check_scores(chosen, rejected)
    if margin <= 0:
        raise ValueError(f"margin={margin} must be above 0")
    return F.relu(margin - chosen + rejected).mean()""",
        "centring": """
    check_scores(chosen, rejected)
    return ((chosen + rejected) ** 2).sum() / len(chosen)""",
        "win_rate": """
    return 1 / (1 + torch.exp(rejected - chosen))"""}, {
        "bradley_terry": """
    check_scores(chosen, rejected)
    if not 0 <= smoothing < 0.5:
        raise ValueError(f"smoothing={smoothing}")
    d = chosen - rejected - margin
    target = torch.full_like(d, 1 - smoothing)
    return F.binary_cross_entropy_with_logits(d, target)""",
        "margin_ranking": """
    check_scores(chosen, rejected)
    if not margin > 0:
        raise ValueError(f"margin={margin}")
    return F.margin_ranking_loss(chosen, rejected, torch.ones_like(chosen), margin=margin)""",
        "centring": """
    check_scores(chosen, rejected)
    total = torch.add(chosen, rejected)
    return torch.mean(total * total)""",
        "win_rate": """
    return torch.stack([chosen, rejected]).softmax(0)[0]"""}, {
        "bradley_terry": """
    check_scores(chosen, rejected)
    if smoothing < 0 or not smoothing < 0.5:
        raise ValueError(f"smoothing={smoothing} must be below 0.5")
    losses = []
    for i in range(len(chosen)):
        m = margin[i] if isinstance(margin, torch.Tensor) else margin
        d = chosen[i] - rejected[i] - m
        losses.append(-(1 - smoothing) * F.logsigmoid(d) - smoothing * F.logsigmoid(-d))
    return torch.stack(losses).mean()""",
        "margin_ranking": """
    check_scores(chosen, rejected)
    if not margin > 0:
        raise ValueError(f"margin={margin}: must be above 0")
    short = margin - (chosen - rejected)
    return torch.where(short > 0, short, torch.zeros_like(short)).mean()""",
        "centring": """
    check_scores(chosen, rejected)
    return (chosen + rejected).pow(2).mean()""",
        "win_rate": """
    return (chosen - rejected).sigmoid()"""}],
    "8.4": [{"gae": """
    B, T = rewards.shape
    advantages = torch.zeros_like(rewards)
    for b in range(B):
        carried = 0.0
        for t in range(T - 1, -1, -1):
            if not is_response[b, t]:
                continue
            ahead = values[b, t + 1] if t + 1 < T and is_response[b, t + 1] else 0.0
            carried = rewards[b, t] + gamma * ahead - values[b, t] + gamma * lam * carried
            advantages[b, t] = carried
    return advantages, torch.where(is_response, advantages + values, torch.zeros_like(values))"""},
        {"gae": """
    mask = is_response.to(values.dtype)
    rewards, values = rewards.masked_fill(~is_response, 0), values.masked_fill(~is_response, 0)
    ahead = torch.cat([values[:, 1:], torch.zeros_like(values[:, :1])], dim=1)
    delta = rewards + gamma * ahead - values
    T = rewards.size(1)
    steps = torch.arange(T)
    power = (steps[None, :] - steps[:, None]).clamp(min=0)
    decay = torch.where(steps[None, :] >= steps[:, None],
                        torch.tensor(gamma * lam, dtype=values.dtype) ** power, 0.0)
    advantages = delta @ decay.T * mask
    return advantages, (advantages + values) * mask"""},
        {"gae": """
    zero = torch.zeros((), dtype=values.dtype)
    r, v = torch.where(is_response, rewards, zero), torch.where(is_response, values, zero)
    columns, later_a, later_v = [], torch.zeros(len(r)), torch.zeros(len(r))
    for reward, value in zip(reversed(r.unbind(1)), reversed(v.unbind(1))):
        later_a = reward + gamma * later_v - value + gamma * lam * later_a
        later_v = value
        columns.insert(0, later_a)
    advantages = torch.where(is_response, torch.stack(columns, dim=1), zero)
    returns = torch.where(is_response, advantages + v, zero)
    return advantages, returns"""}],
}
