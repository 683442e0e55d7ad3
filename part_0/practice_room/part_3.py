"""Topics of part 3, the modern architecture, for practice.py."""

from practice_room.topics import Topic

TOPICS = [
    Topic("3.1", "RMSNorm", 10, {"rmsnorm.py": {
        "rms_norm": (
            "square, take the mean over the last axis alone, and keep that axis",
            "add eps under the root, and divide by the root: torch.rsqrt is one over it",
            "square in float32: 16 bits overflow; go back to x's type before the weight"),
        "RMSNorm.forward": (
            "the same with self.weight and self.eps; F.rms_norm computes it in one call",)}},
        tests=("test_rmsnorm.py",), demo=("demo_norms.py",)),
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
        tests=("test_rope.py", "test_truth.py"), demo=("demo_rope.py",)),
    Topic("3.3", "SwiGLU", 10, {"swiglu.py": {
        "hidden_width": (
            "8/3 of n_embd, rounded up: -(-a // b) rounds a whole-number division up",),
        "SwiGLU.forward": (
            "one product gives gate and up side by side; cut the last axis in two",
            "silu acts on the gate, and multiplies the other half; then project",)}},
        tests=("test_swiglu.py",), demo=("demo_swiglu.py",)),
]
