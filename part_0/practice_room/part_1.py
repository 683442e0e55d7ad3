"""Topics of part 1, the transformer core, for practice.py."""

from practice_room.topics import Topic

TOPICS = [
    Topic("1.1", "Positions from sines and cosines", 15, {"positions.py": {
        "sinusoidal_table": (
            "refuse an odd n_embd; the angle of row t, pair i is t / 10000^(2i/C), i from 0",
            "sine and cosine of a pair stand side by side: stack on a last axis, then flatten",
            "work in float64, and give float32"),
        "check_length": (
            "block_size tokens still fit; one more is a ValueError that names both numbers",)}},
        tests=("test_positions.py",), demo=("demo_positions.py", "--quick")),
    Topic("1.2", "Attention by hand", 20, {"attention.py": {
        "causal_visibility": (
            "True on and below the diagonal: a token sees itself and what came before",),
        "attention": (
            "scores = q times the transposed k, divided by the root of the head's width",
            "what is not visible gets the score -inf: its weight becomes exactly 0",
            "softmax over the keys, the last axis; then weights times v; give both back")}},
        tests=("test_attention.py",), demo=("demo_attention_by_hand.py",)),
    Topic("1.2b", "Attention's way back, by hand", 30, {"demo_attention_by_hand.py": {
        "backward_by_hand": (
            "read the way forward above it and go back line by line: V first, then the weights",
            "softmax: d_score = weight * (d_weight - the row's sum of weight * d_weight)",
            "queries get d_scores times k, keys the transposed d_scores times q")}},
        tests=("test_attention.py",), demo=("demo_attention_by_hand.py",)),
    Topic("1.4", "Many heads", 30, {"attention.py": {
        "MultiHeadAttention.split": (
            "cut the last axis into H heads of width D, then bring the heads before the time",),
        "MultiHeadAttention.concatenate": (
            "the way back: time before heads again, then H and D become one axis",),
        "MultiHeadAttention.visibility": (
            "a pair must be allowed by both masks, the one given and the causal one",),
        "MultiHeadAttention.forward": (
            "keys and values come from the context, which is x where none is given",
            "explicit: attention(); else F.scaled_dot_product_attention: is_causal without a mask,"
            " attn_mask with one",
            "heads side by side again, then the output projection")}},
        tests=("test_attention.py", "test_encoder_decoder.py"), demo=("demo_mha_shapes.py",)),
    Topic("1.5", "The MLP with GELU", 10, {"mlp.py": {
        "gelu": ("x times 0.5 (1 + erf(x / sqrt 2)): the share of a normal distribution below x",),
        "gelu_tanh": (
            "0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))",),
        "MLP.forward": ("widen, bend, project",)}},
        tests=("test_mlp_and_norm.py",), demo=("demo_overfit.py", "--quick")),
    Topic("1.6", "LayerNorm", 10, {"norm.py": {
        "LayerNorm.forward": (
            "mean over the last axis alone, with the axis kept; take it off",
            "the variance is the mean of the squares: divided by C, not by C - 1",
            "divide by the root of (variance + eps); then weight and bias")}},
        tests=("test_mlp_and_norm.py",), demo=("demo_residuals.py", "--quick")),
    Topic("1.7", "The block", 10, {"block.py": {
        "Block.forward": (
            "x plus what attention makes of the normed x",
            "then the new x plus what the MLP makes of it, by the second norm")}},
        tests=("test_model.py",), demo=("demo_residuals.py", "--quick")),
    Topic("1.7b", "A minimal GPT", 30, {"model.py": {
        "GPT.initialise": (
            "matrices normal with 0.02; those named project smaller by sqrt(2 n_layer); biases 0",),
        "GPT.embed": (
            "check the ids and the length, then token vectors plus position vectors, if any",),
        "GPT.forward": (
            "embed, the blocks, the last norm, the head; targets are shifted already",
            "the loss: cross-entropy over all places together; -100 is left out"),
        "GPT.generate": (
            "read at most the last block_size tokens, take the last place's likeliest token",)}},
        tests=("test_model.py",), demo=("demo_overfit.py", "--quick")),
    Topic("1.8", "Encoder and decoder layers", 30, {"encoder_decoder.py": {
        "add_residual": (
            "pre-norm: x + branch(norm(x)); post-norm: norm(x + branch(x))",),
        "Embedding.forward": (
            "check the ids; token vectors times sqrt(C), plus the positions",),
        "EncoderLayer.forward": (
            "self-attention that sees all real tokens, then the MLP; both by add_residual",),
        "DecoderLayer.forward": (
            "first its own attention (causal), then cross-attention, then the MLP",
            "cross-attention: queries from the decoder, the memory as context, is_real as mask"),
        "EncoderDecoder.source_is_real": (
            "True where the source is no padding, as (B, 1, 1, S); refuse a row of padding alone",)}},
        tests=("test_encoder_decoder.py",), demo=("demo_encoder_decoder.py", "--quick")),
    Topic("1.8b", "Writing with a decoder", 20, {"encoder_decoder.py": {
        "EncoderDecoder.forward": (
            "encode the source, decode target_in against it; padding does not count in the loss",),
        "EncoderDecoder.generate": (
            "the source is read once; the target begins with begin_id in every row",
            "a row that has ended gets padding; stop when all have ended; leave out begin_id")}},
        tests=("test_encoder_decoder.py",), demo=("demo_encoder_decoder.py", "--quick")),
]
