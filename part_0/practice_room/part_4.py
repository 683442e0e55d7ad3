"""Topics of part 4, scaling up, for practice.py."""

from practice_room.topics import Topic

TOPICS = [
    Topic("4.1", "BPE: merge the commonest neighbours", 30, {"text/bpe.py": {
        "count_pairs": ("a Counter over the neighbours in each chunk, never across chunks",),
        "merge_pair": (
            "go from left to right: where the pair stands, put the new id and pass both places",),
        "train_plain": (
            "chunks of bytes; count, take the commonest pair, merge it everywhere, again",
            "ties go to the smallest pair; merge k gets the id 256 + k; stop when no pair is left"),
        "number_of_merges": (
            "what vocab_size leaves beside 256 bytes and the special tokens; refuse less than 0",
            "the message names the value and the way out: vocab_size=258 … at least 259"),
        "encode_plain": (
            "in each chunk, while a known pair is there: merge the one that was learned first",)}},
        tests=("test_bpe.py",), demo=("demo_bpe.py", "--quick")),
    Topic("4.1b", "BPE, fast: only what changes is counted", 60, {"text/bpe_fast.py": {
        "merge_chunks": (
            "a heap of (-count, pair); an entry whose count is out of date goes back corrected",
            "pairs that are gone are passed over; replace_pair tells the left and right neighbours",
            "(b, y) loses what (new, y) gains; (x, a) loses what (x, new) gains, whose places are"
            " where x begins"),
        "replace_pair": (
            "a place counts only if a stands there and b behind it still",
            "note who ends before and who begins behind; mark b's first place as no beginning",
            "the new id stands on the first and the last place; -1 is a border, no neighbour")}},
        tests=("test_bpe.py",), demo=("demo_bpe.py", "--quick")),
    Topic("4.2", "One step, however it is cut", 40, {"run/loop.py": {
        "train_step": (
            "set the rate of each group (times its scale); count the labels of the whole step",
            "each piece's loss weighs its labels / all labels; backward adds the gradients up",
            "the step's loss is the sum of the shares; not a number: forget gradients and raise",
            "unscale, then clip, then step, update, forget the gradients")}},
        tests=("test_loop.py",), demo=("demo_accumulation.py",)),
    Topic("4.2b", "Rows of whole documents", 40, {"text/data.py": {
        "find_documents": (
            "a document begins at each `begin`, and at 0; long ones come in pieces",
            "the last token of a piece is the first of the next"),
        "pack": (
            "best fit: the open row with the least room that is enough (rows are sorted by room)",
            "what does not begin with `begin` opens a row; at open_rows the fullest is closed"),
        "TokenRows.order": (
            "np.random.default_rng([seed, epoch]) permutes the rows; keep the epoch at hand",),
        "TokenRows.batch": (
            "refuse more rows than there are; each process takes its share of the step's rows",
            "ids are all but the last token, targets all but the first, `begin` masked"),
        "mask_begin": ("a target that is `begin` is IGNORED",),
        "pad_documents": (
            "pad on the right; targets that are padding are IGNORED, whatever the pad token is",)}},
        tests=("test_data.py",), demo=("demo_packed_rows.py",)),
    Topic("4.2c", "The loss without all logits", 50, {"gpt/head_loss.py": {
        "HeadLoss.forward": (
            "piece by piece: logits, minus the largest; loss = log of the sum of exp - the target's",
            "the slope of the logits is softmax minus one-hot, zero where the target is -100",
            "x_gradient = slope @ w, w_gradient += slope^T @ rows; divide by the count at the end"),
        "HeadLoss.backward": (
            "both gradients times the incoming one, divided by the number of labels",)}},
        tests=("test_model.py",), demo=("demo_mixed_precision.py", "--quick")),
    Topic("4.2d", "Muon: steps of equal size in all directions", 40, {"run/optim.py": {
        "orthogonal": (
            "lie tall matrices on their side; divide by the norm; five times"
            " x = a x + (b s + c s s) x with s = x x^T; turn back",),
        "Muon.step_muon": (
            "a running mean of the gradient, and the gradient moved towards it (Nesterov)",
            "cut matrices that hold several; orthogonal(); taller ones times sqrt(rows / columns)",
            "decay by rate times weight_decay, then step by the rate")}},
        tests=("test_loop.py",), demo=("demo_muon.py", "--quick")),
    Topic("4.3", "Warmup and schedules", 20, {"run/schedule.py": {
        "learning_rate": (
            "up in a straight line to the peak, then half a cosine down to final, then flat",),
        "Schedule.rate": (
            "cosine: learning_rate; else the same warmup, and `constant` stays at the peak",
            "linear comes down from the end of the warmup, wsd over the last `decay` of the run",
            "never below `low`, however long the run goes on")}},
        tests=("test_schedule.py",), demo=("demo_schedules.py", "--quick")),
    Topic("4.4", "Checkpoint and resume", 30, {"run/optim.py": {
        "optimizer_state": (
            "by the parameters' names, whole tensors, on the CPU, copied",),
        "load_optimizer_state": (
            "refuse names that are not the model's; every value of every state comes back",
            "the step counts as it is; moments go into tensors like the parameter, by put()")},
        "run/checkpoint.py": {
        "Checkpoints.newest": (
            "from the newest to the oldest; a damaged one is named and passed over",),
        "Checkpoints.save": (
            "write the new one first; then drop all but the last `keep` and the best",)}},
        tests=("test_loop.py", "test_checkpoint.py"), demo=("demo_resume.py", "--quick")),
]
