"""Topics of part 3, the modern architecture, for practice.py."""

from practice_room.topics import Topic

TOPICS = [
    Topic("3.1", "RMSNorm", 10, {"rmsnorm.py": {
        "rms_norm": (
            "square, take the mean over the last axis alone, and keep that axis",
            "add eps under the root, and divide by the root: torch.rsqrt is one over it",
            "square in float32: 16 bits overflow; go back to x's type before the weight"),
        "RMSNorm.forward": (
            "the same with self.weight and self.eps; F.rms_norm computes it in one call",
            "float64 stays float64: only what is narrower than float32 is widened")}},
        tests=("test_rmsnorm.py",), demo=("demo_norms.py", "--quick")),
    Topic("3.2", "RoPE: turn by position", 30, {"rope.py": {
        "rope_frequencies": (
            "w_i = theta^(-2i/D): the exponents are 0, 2, 4 … divided by D, in float64",
            "refuse an odd or too small head_dim, and a scaling that is not in SCALINGS",
            "linear: divide by factor. ntk: theta * factor^(D / (D - 2)) beforehand",
            "llama3: turns = trained * w / 2π; kept = (turns - low) / (high - low) within 0 … 1;"
            " w * (kept + (1 - kept) / factor)"),
        "RotaryTable.compute": (
            "angle = position * w for every pair, in float64; then cos and sin as float32",),
        "apply_rope": (
            "halves: channel i turns with i + D/2; so cut the last axis into two halves",
            "(a, b) -> (a cos - b sin, b cos + a sin), and put the halves back side by side",),
        "apply_rope_interleaved": (
            "the same turn for RoFormer's layout: the pairs are x[..., 0::2] and x[..., 1::2]",),
        "interleaved_to_halves": (
            "head_dim 6 -> [0, 2, 4, 1, 3, 5]: first the even channels, then the odd ones",)}},
        tests=("test_rope.py", "test_truth.py"), demo=("demo_rope.py", "--quick")),
    Topic("3.3", "SwiGLU", 10, {"swiglu.py": {
        "hidden_width": (
            "8/3 of n_embd, rounded up: -(-a // b) rounds a whole-number division up",),
        "SwiGLU.forward": (
            "one product gives gate and up side by side; cut the last axis in two",
            "silu acts on the gate, and multiplies the other half; then project",)}},
        tests=("test_swiglu.py",), demo=("demo_swiglu.py", "--quick")),
    Topic("3.4", "The KV cache, plainly, with grouped queries", 40, {"plain_cache.py": {
        "PlainCache.update": (
            "write the T new keys and values behind those that were seen, in this layer's slots",
            "give back all N so far, keys and values; `seen` moves on in `read`, not here"),
        "grouped_attention": (
            "one product gives H query heads, K key heads, K value heads; turn queries and keys",
            "put the new keys and values into the cache, and get all of them",
            "each key head serves H // K query heads that follow each other: repeat_interleave",
            "the last query sees all N keys, the first of a chunk N - T + 1: tril(N - T)"),
        "read": (
            "positions go on behind what the cache holds; each block adds attention and MLP",
            "move the cache on once, behind the last layer")}},
        tests=("test_plain_cache.py",), demo=("demo_plain_cache.py",)),
    Topic("3.4b", "Grouped-query attention", 40, {"attention.py": {
        "attend": (
            "the fused kernel unless sinks are capped, widths differ, or bfloat16 runs on a CPU",
            "by products: the G heads of a key head stand below each other, (B, K, G*T, D)",
            "the first S scores come from q_sink where there is one; hide; softmax; dropout"),
        "GroupedQueryAttention.forward": (
            "one product for H + 2 K heads; norms of queries and keys where there are any",
            "turn both by plan.rotation; q_sink is the unturned queries by plan.sink_rotation",
            "gather_keys, attend, heads side by side, project")}},
        tests=("test_attention.py", "test_truth.py"), demo=("demo_kv_cache.py", "--quick")),
    Topic("3.4c", "Writing for many prompts at once", 40, {"generate.py": {
        "pad_left": ("pads in front, so that all prompts end in the same column",),
        "stream": (
            "read the padded prompts once, then one token a step; logits of the last place",
            "a row that has drawn a stop token ends; its row leaves the cache by cache.keep",
            "the rows that go on are counted anew, in the order of those that are left")}},
        tests=("test_generate.py",), demo=("demo_streaming.py", "--quick")),
    Topic("3.5", "Sliding window and sinks", 40, {"attention.py": {
        "visibility": (
            "not later, and no pad; a pad sees itself alone",
            "with a window W: t - s < W, or s is one of the first S tokens (and no pad)"),
        "make_plan": (
            "positions follow what the cache holds, and do not count pads; rotations by position",
            "beyond sink + window - 1 the sinks are seen from there: plan.sink_rotation",
            "the causal flag alone is enough only without pads, cache and cut by a window",
            "without a cache, sinks stand in front of the chunk: plan.sinks, and hidden in it"),
        "all_visible": (
            "may the next single token see every entry? without a window always",)}},
        tests=("test_attention.py", "test_truth.py"), demo=("demo_sliding_window.py",)),
    Topic("3.6", "The rolling buffer", 45, {"kv_cache.py": {
        "without_sinks": (
            "positions that stand among the first `sink` become NOWHERE",),
        "KVCache.reads_in_place": (
            "one token, or a chunk that overwrites nothing: seen + count within the ring",),
        "KVCache.key_positions": (
            "slot r holds the last column before the end that is r modulo the ring",
            "where reading comes first: the old columns, then the new ones",
            "positions are columns minus the pads; sinks in front, and hidden behind"),
        "KVCache.write": (
            "first the sinks, if their places are not all filled; column c goes to slot c mod R",
            "where reading comes first: keep what is visible, then write the last R columns"),
        "KVCache.write_sinks": (
            "a row's sinks are its first `sink` columns behind the pads",
            "those that stand in this chunk are copied, the other places keep what they have"),
        "KVCache.keep": (
            "keys, values and the pads of these rows alone",)}},
        tests=("test_kv_cache.py", "test_truth.py"), demo=("demo_rotation_and_ring.py",)),
    Topic("3.7", "Multi-head latent attention", 45, {"mla.py": {
        "LatentAttention.forward": (
            "queries as heads of [plain | turned]; down gives the latent c and the turned r",
            "what is cached: the normed c beside the turned r, one for all heads",
            "absorbed where 8 T is at most the number of keys, unless told; then project"),
        "LatentAttention.naive": (
            "keys are [up_key(c) | r], values up_value(c), for each head; then plain attention",),
        "LatentAttention.absorbed": (
            "turn the query round: q W_uk meets c itself; beside it the turned part meets r",
            "the scale is that of D, not of the latent's width; W_uv comes behind the sum")}},
        tests=("test_mla.py",), demo=("demo_mla.py", "--quick")),
]
