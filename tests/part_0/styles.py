'''Right attempts that are written differently from ours: three styles for ten topics.

STYLES[topic] is a list of {function: its body}: with loops over single numbers, with other calls of
the library, and in long words. Used by test_practice.py: all of them must pass.
'''

STYLES = {
    "1.2": [{
        "causal_visibility": """
    rows = []
    for t in range(length):
        rows.append([s <= t for s in range(length)])
    return torch.tensor(rows, dtype=torch.bool, device=device)""",
        "attention": """
    width = q.shape[-1]
    scores = torch.einsum("...td,...sd->...ts", q, k) * width ** -0.5
    if is_visible is not None:
        scores = torch.where(is_visible, scores, torch.full_like(scores, float("-inf")))
    weights = torch.softmax(scores, -1)
    return torch.einsum("...ts,...sd->...td", weights, v), weights"""}, {
        "causal_visibility": """
    place = torch.arange(length, device=device)
    return place[:, None] >= place[None, :]""",
        "attention": """
    scores = torch.matmul(q, k.mT)
    scores = scores / math.sqrt(k.size(-1))
    if is_visible is not None:
        scores = scores + torch.zeros_like(scores).masked_fill(~is_visible, -math.inf)
    shifted = (scores - scores.amax(-1, keepdim=True)).exp()
    weights = shifted / shifted.sum(-1, keepdim=True)
    return torch.matmul(weights, v), weights"""}, {
        "causal_visibility": """
    later = torch.triu(torch.ones(length, length, device=device), diagonal=1)
    return later == 0""",
        "attention": """
    scaled_queries = q / q.shape[-1] ** 0.5
    similarity = scaled_queries @ torch.swapaxes(k, -1, -2)
    if is_visible is not None:
        similarity = similarity.masked_fill(torch.logical_not(is_visible), float("-inf"))
    log_weights = F.log_softmax(similarity, dim=-1)
    weights = log_weights.exp()
    gathered = weights @ v
    return gathered, weights"""}],
    "1.6": [{"LayerNorm.forward": """
        return torch.layer_norm(x, (x.size(-1),), self.weight, self.bias, self.eps)"""},
        {"LayerNorm.forward": """
        variance, mean = torch.var_mean(x, dim=-1, unbiased=False, keepdim=True)
        scale = (variance + self.eps).rsqrt()
        return torch.addcmul(self.bias, (x - mean) * scale, self.weight)"""},
        {"LayerNorm.forward": """
        count = x.shape[-1]
        mean = x.sum(dim=-1, keepdim=True) / count
        deviation = x - mean
        spread = ((deviation ** 2).sum(dim=-1, keepdim=True) / count + self.eps) ** 0.5
        normed = deviation / spread
        return normed * self.weight + self.bias"""}],
    "2.5": [{
        "keep_top_k": """
    kept = torch.full_like(logits, -math.inf)
    for row, scores in enumerate(logits.tolist()):
        best = sorted(range(len(scores)), key=lambda i: -scores[i])[:k]
        for i in best:
            kept[row, i] = logits[row, i]
    return kept""",
        "keep_top_p": """
    kept = torch.full_like(logits, -math.inf)
    for row in range(len(logits)):
        chances = logits[row].double().softmax(-1).tolist()
        total = 0.0
        for i in sorted(range(len(chances)), key=lambda i: -chances[i]):
            kept[row, i] = logits[row, i]
            total += chances[i]
            if total >= p - 1e-12:
                break
    return kept""",
        "next_probabilities": """
    check_sampling(temperature, top_k, top_p)
    scores = logits.float()
    if temperature == 0:
        chances = torch.zeros_like(scores)
        chances[torch.arange(len(scores)), scores.argmax(-1)] = 1
        return chances
    scores = scores / temperature
    if top_k and top_k < scores.shape[1]:
        scores = keep_top_k(scores, top_k)
    if top_p is not None and top_p < 1:
        scores = keep_top_p(scores, top_p)
    return torch.softmax(scores, dim=-1)"""}, {
        "keep_top_k": """
    rank = logits.sort(dim=-1, descending=True, stable=True).indices.argsort(-1)
    return logits.masked_fill(rank >= k, -math.inf)""",
        "keep_top_p": """
    order = logits.argsort(dim=-1, descending=True, stable=True)
    chances = logits.double().softmax(-1).gather(-1, order)
    before = torch.cat([torch.zeros_like(chances[:, :1]), chances.cumsum(-1)[:, :-1]], -1)
    keep = before < p - 1e-12
    keep[:, 0] = True
    is_kept = torch.zeros_like(keep).scatter(-1, order, keep)
    return torch.where(is_kept, logits, -math.inf)""",
        "next_probabilities": """
    check_sampling(temperature, top_k, top_p)
    logits = logits.float()
    if temperature == 0:
        return torch.nn.functional.one_hot(logits.argmax(-1), logits.size(-1)).float()
    logits = logits.div(temperature)
    vocabulary = logits.size(-1)
    logits = keep_top_k(logits, min(top_k or vocabulary, vocabulary))
    logits = logits if top_p is None or top_p >= 1 else keep_top_p(logits, top_p)
    return logits.softmax(-1)"""}, {
        "keep_top_k": """
    order = torch.sort(logits, dim=-1, descending=True, stable=True)[1]
    chosen = order[..., :k]
    result = torch.full_like(logits, float("-inf"))
    return result.scatter(-1, chosen, logits.gather(-1, chosen))""",
        "keep_top_p": """
    ordered, order = torch.sort(logits, dim=-1, descending=True, stable=True)
    total = ordered.double().softmax(-1).cumsum(-1)
    count = (total < p - 1e-12).sum(-1, keepdim=True) + 1
    is_kept = torch.arange(logits.size(-1), device=logits.device) < count
    result = torch.full_like(logits, float("-inf"))
    return result.scatter(-1, order, torch.where(is_kept, ordered, float("-inf")))""",
        "next_probabilities": """
    check_sampling(temperature, top_k, top_p)
    logits = logits.to(torch.float32)
    if temperature == 0:
        is_best = torch.arange(logits.size(-1)) == logits.argmax(-1, keepdim=True)
        return is_best.float()
    cooled = logits * (1 / temperature)
    if top_k is not None and top_k < logits.size(-1):
        cooled = keep_top_k(cooled, top_k)
    if top_p is not None and top_p < 1:
        cooled = keep_top_p(cooled, top_p)
    weights = (cooled - cooled.max(-1, keepdim=True).values).exp()
    return weights / weights.sum(-1, keepdim=True)"""}],
    "3.1": [{"rms_norm": """
    size = x.float().pow(2).mean(dim=-1, keepdim=True).add(eps).sqrt()
    return (x.float() / size).to(x.dtype) * weight""",
             "RMSNorm.forward": """
        wide = x if x.dtype == torch.float64 else x.float()
        size = (wide * wide).mean(-1, keepdim=True).add(self.eps).rsqrt()
        return (wide * size).to(x.dtype) * self.weight.to(x.dtype)"""},
            {"rms_norm": """
    wide = x.to(torch.float32)
    count = wide.shape[-1]
    squares = torch.einsum("...c,...c->...", wide, wide).unsqueeze(-1)
    return weight * (wide * (squares / count + eps) ** -0.5).type_as(x)""",
             "RMSNorm.forward": """
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        size = torch.sqrt((wide * wide).mean(-1, keepdim=True) + self.eps)
        return (wide / size * self.weight.to(wide.dtype)).to(x.dtype)"""},
            {"rms_norm": """
    length = torch.linalg.vector_norm(x.float(), dim=-1, keepdim=True)
    mean_square = length ** 2 / x.size(-1)
    return (x.float() / torch.sqrt(mean_square + eps)).to(x.dtype) * weight""",
             "RMSNorm.forward": """
        return F.rms_norm(x, (x.size(-1),), self.weight.to(x.dtype), self.eps)"""}],
    "3.3": [{"hidden_width": """
    thirds = 3 * multiple
    return (8 * n_embd // thirds + (8 * n_embd % thirds > 0)) * multiple""",
             "SwiGLU.forward": """
        both = self.gate_up(x)
        half = both.size(-1) // 2
        gate, up = both[..., :half], both[..., half:]
        return self.project(gate * torch.sigmoid(gate) * up)"""},
            {"hidden_width": """
    width = multiple
    while 3 * width < 8 * n_embd:
        width += multiple
    return width""",
             "SwiGLU.forward": """
        gate, up = torch.tensor_split(self.gate_up(x), 2, dim=-1)
        return self.project(torch.mul(F.silu(gate), up))"""},
            {"hidden_width": """
    return (8 * n_embd + 3 * multiple - 1) // (3 * multiple) * multiple""",
             "SwiGLU.forward": """
        gate, up = self.gate_up(x).unflatten(-1, (2, -1)).unbind(-2)
        opened = gate / (1 + torch.exp(-gate))
        return self.project(opened * up)"""}],
    "4.1": [{
        "count_pairs": """
    counts = Counter()
    for ids in chunks:
        for i in range(len(ids) - 1):
            counts[ids[i], ids[i + 1]] += 1
    return counts""",
        "merge_pair": """
    merged = []
    for token in ids:
        merged.append(token)
    i = 0
    while i < len(merged) - 1:
        if (merged[i], merged[i + 1]) == pair:
            merged[i:i + 2] = [new]
        i += 1
    return merged""",
        "train_plain": """
    chunks = [list(chunk.encode()) for chunk in split_chunks(text, special, pattern)]
    merges = []
    for k in range(number_of_merges(vocab_size, special)):
        counts = count_pairs(chunks)
        if len(counts) == 0:
            return merges
        most = max(counts.values())
        best = min(pair for pair in counts if counts[pair] == most)
        chunks = [merge_pair(ids, best, 256 + k) for ids in chunks]
        merges.append(best)
    return merges""",
        "number_of_merges": """
    left = vocab_size - 256 - len(special)
    if left < 0:
        raise ValueError(f"vocab_size={vocab_size} must be at least {256 + len(special)}")
    return left""",
        "encode_plain": """
    out = []
    for chunk in split_chunks(text, pattern=pattern):
        ids = list(chunk.encode("utf-8"))
        for k, pair in enumerate(merges):
            ids = merge_pair(ids, tuple(pair), 256 + k)
        out.extend(ids)
    return out"""}, {
        "count_pairs": """
    return Counter(pair for ids in chunks for pair in zip(ids, ids[1:]))""",
        "merge_pair": """
    merged, skip = [], False
    for i, token in enumerate(ids):
        if skip:
            skip = False
        elif i + 1 < len(ids) and token == pair[0] and ids[i + 1] == pair[1]:
            merged.append(new)
            skip = True
        else:
            merged.append(token)
    return merged""",
        "train_plain": """
    chunks = [tuple(chunk.encode("utf-8")) for chunk in split_chunks(text, special, pattern)]
    wanted, merges = number_of_merges(vocab_size, special), []
    while len(merges) < wanted and (counts := count_pairs(chunks)):
        best = sorted(counts, key=lambda pair: (-counts[pair], *pair))[0]
        chunks = [tuple(merge_pair(list(ids), best, 256 + len(merges))) for ids in chunks]
        merges += [best]
    return merges""",
        "number_of_merges": """
    if vocab_size < 256 + len(special):
        raise ValueError(f"vocab_size={vocab_size} is no size: at least {256 + len(special)}")
    return vocab_size - 256 - len(special)""",
        "encode_plain": """
    rank = {tuple(pair): k for k, pair in enumerate(merges)}
    out = []
    for chunk in split_chunks(text, pattern=pattern):
        ids = list(chunk.encode("utf-8"))
        while True:
            ranks = [rank.get(pair, len(merges)) for pair in zip(ids, ids[1:])]
            if not ranks or min(ranks) == len(merges):
                break
            k = min(ranks)
            ids = merge_pair(ids, tuple(merges[k]), 256 + k)
        out += ids
    return out"""}, {
        "count_pairs": """
    counts = {}
    for ids in chunks:
        for pair in pairwise(ids):
            counts[pair] = counts.get(pair, 0) + 1
    return Counter(counts)""",
        "merge_pair": """
    if len(ids) < 2:
        return list(ids)
    if (ids[0], ids[1]) == pair:
        return [new] + merge_pair(ids[2:], pair, new)
    merged, rest = [ids[0]], ids[1:]
    while rest and tuple(rest[:2]) != pair:
        merged.append(rest[0])
        rest = rest[1:]
    return merged + (merge_pair(rest, pair, new) if rest else [])""",
        "train_plain": """
    chunks = [list(chunk.encode("utf-8")) for chunk in split_chunks(text, special, pattern)]
    merges, wanted = [], number_of_merges(vocab_size, special)
    while len(merges) != wanted:
        counts = count_pairs(chunks)
        if not counts:
            break
        best = None
        for pair, n in counts.items():
            if best is None or n > counts[best] or (n == counts[best] and pair < best):
                best = pair
        new = 256 + len(merges)
        merges.append(best)
        for i in range(len(chunks)):
            chunks[i] = merge_pair(chunks[i], best, new)
    return merges""",
        "number_of_merges": """
    room = vocab_size - (256 + len(special))
    if room >= 0:
        return room
    least = 256 + len(special)
    raise ValueError(f"vocab_size={vocab_size} does not hold the bytes: at least {least}")""",
        "encode_plain": """
    learned = [tuple(pair) for pair in merges]
    out = []
    for chunk in split_chunks(text, pattern=pattern):
        ids = [*chunk.encode("utf-8")]
        changed = True
        while changed:
            changed = False
            here = set(pairwise(ids))
            for k, pair in enumerate(learned):
                if pair in here:
                    ids, changed = merge_pair(ids, pair, 256 + k), True
                    break
        out += ids
    return out"""}],
}
