"""Topics of part 2, a tiny language model, for practice.py."""

from practice_room.topics import Topic

TOPICS = [
    Topic("2.1", "Text as bytes, and what is kept aside", 10, {"data.py": {
        "encode": ("a text in UTF-8 is a row of bytes, and each is a number",),
        "decode": ("the way back; bytes that are no UTF-8 must not raise: errors='replace'",),
        "split_bytes": (
            "refuse a share that is not between 0 and 1; the cut is at (1 - share) of the length",
            "the first part is for training, the last for validation; they share no byte"),
        "check_enough": ("one window takes block_size + 1 bytes: ids and the byte after them",)}},
        tests=("test_data.py",), demo=("demo_label_shift.py", "--quick")),
    Topic("2.2", "Batches and the shift", 15, {"data.py": {
        "get_batch": (
            "draw the starts with torch.randint and the generator, (batch_size, 1) of them",
            "how many starts are there? The last window must end at the last byte",
            "a window has block_size + 1 bytes: all but the last are ids, all but the first targets",
            "check_enough first; int64; windows on the device of data")}},
        tests=("test_data.py",), demo=("demo_label_shift.py", "--quick")),
    Topic("2.3", "Cross-entropy by hand", 20, {"demo_cross_entropy.py": {
        "log_softmax": (
            "z - log sum exp z over the last axis; take the largest off first",),
        "cross_entropy": (
            "only places whose target is not `ignore`; minus the log-probability of the target",
            "give back the losses of those places, and their mean"),
        "gradient": (
            "the probabilities, minus 1 where the target stands, divided by the number of places",)}},
        tests=("test_demos.py",), demo=("demo_cross_entropy.py",)),
    Topic("2.4", "A learning rate that rises and falls", 15, {"schedule.py": {
        "learning_rate": (
            "refuse a warmup that is not a share; during it the rate climbs in a straight line",
            "after it: half a cosine from peak down to final, over what is left of the run",
            "beyond the end the rate stays at final: a cosine would climb again")}},
        tests=("test_train.py",), demo=("demo_ablation.py", "--quick")),
    Topic("2.4b", "One step of training", 15, {"train_gpt.py": {
        "update": (
            "unscale the gradients first, then clip their norm, then step and update the scaler",
            "forget the gradients; give back the norm before the clip"),
        "progress_of": (
            "the share by steps, the share by minutes (either may be unset): the larger counts",)}},
        tests=("test_train.py",), demo=("demo_ablation.py", "--quick")),
    Topic("2.4c", "Attention with one product", 25, {"model.py": {
        "causal_attention": (
            "-inf where a key is later than the query, added to the scores",
            "scores divided by the root of D; softmax over the keys; dropout on the weights"),
        "CausalSelfAttention.forward": (
            "one product gives q, k, v side by side; cut each into heads",
            "by_products(qkv): causal_attention with (B*H, T, D); else PyTorch's fused kernel",
            "dropout in training alone; heads side by side again, then project")}},
        tests=("test_model.py",), demo=("demo_ablation.py", "--quick")),
    Topic("2.5", "Temperature, top-k, top-p", 30, {"sampling.py": {
        "keep_top_k": (
            "exactly k scores stay, of equal ones the first: sort stably, then hide the rest",),
        "keep_top_p": (
            "sort; a token is left out when those before it sum to p already",
            "float64 for the sum; the first always stays; scatter back into the old order"),
        "next_probabilities": (
            "check the settings; temperature 0: all on the likeliest token",
            "divide by the temperature, then top-k, then top-p, then softmax")}},
        tests=("test_sampling.py",), demo=("demo_sampling.py", "--quick")),
    Topic("2.5b", "Writing a text", 15, {"sampling.py": {
        "sample_next": (
            "probabilities as the settings say; torch.multinomial draws one for each row",),
        "generate": (
            "check the settings, refuse an empty prompt, put the model into eval mode",
            "read at most the last block_size tokens; draw from the last place; yield each token")}},
        tests=("test_sampling.py",), demo=("demo_sampling.py", "--quick")),
    Topic("2.6", "Validation loss: each byte once", 30, {"evaluation.py": {
        "bits_per_byte": ("1 bit is ln 2 nats",),
        "windows": (
            "refuse a stride beyond the window; a window begins every `stride` bytes",
            "it ends after block_size targets, or at the last byte; only what no earlier window"
            " counted is counted; stop when all are"),
        "evaluate": (
            "eval mode, and back to the old mode at the end; windows of one length at a time",
            "targets that were counted before become -100; add up loss times labels, divide once")}},
        tests=("test_evaluation.py",), demo=("demo_label_shift.py", "--quick")),
]
