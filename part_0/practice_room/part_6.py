"""Topics of part 6, instruction tuning, for practice.py."""

from practice_room.topics import Topic

TOPICS = [
    Topic("6.1", "The chat format", 35, {"sft/chat_format.py": {
        "check_messages": (
            "known roles, texts that are not blank; at most one system line, in front",
            "then user and assistant in turn; the last word is the assistant's, or the user's"),
        "encode_turn": (
            "the role's token, the text as text (an answer begins with a blank), the end token",),
        "encode_conversation": (
            "check; a form of its own where the tokenizer has one: encode_parts, labels_learnt",
            "begin, then the turns; a label is what the assistant says: its text and its end,"
            " where it is to be learnt, and never the role token"),
        "encode_prompt": (
            "check that the user speaks last; begin, the turns, and the assistant's token",),
        "decode_reply": ("up to the end token, if there is one; without blanks around it",)}},
        tests=("test_chat_format.py",), demo=("demo_label_mask.py", "--quick")),
    Topic("6.1b", "More tokens for a trained model", 20, {"sft/chat_format.py": {
        "chat_tokenizer": (
            "refuse a tokenizer with a problem; one with a form of its own stays",
            "add those role tokens that are missing"),
        "grow_vocabulary": (
            "refuse fewer tokens than there are; a new model, the old rows kept",
            "a new row is the mean of the old ones plus a tenth of their spread as noise",
            "embedding and head both, or one for both where they are tied")}},
        tests=("test_chat_format.py",), demo=("demo_label_mask.py", "--quick")),
    Topic("6.2", "Masked labels", 20, {"sft/data.py": {
        "to_tensors": (
            "ids are all but the last token of each example, one behind the other",
            "targets are the next tokens, IGNORED where they are not labels; pad both"),
        "pad_batch": ("one example a row",)},
        "text/rows.py": {
        "segments": ("each `begin` opens the next document: a running count",),
        "pad_rows": ("a tensor full of `fill`, then each row from the left",)}},
        tests=("test_sft_data.py",), demo=("demo_label_mask.py", "--quick")),
    Topic("6.2b", "What fits, and packing", 40, {"sft/data.py": {
        "shortened": (
            "while it is too long: drop the oldest question and answer, but not the system line",
            "the last question loses its beginning, never the answer; None where nothing is left"),
        "encode_example": (
            "as it is, or shortened, or skipped, and say which",),
        "pack": (
            "chunk by chunk: the longest first, each into the first row with room",
            "refuse what is longer than a row; shuffle the rows of a chunk")}},
        tests=("test_sft_data.py",), demo=("demo_packing.py", "--quick")),
    Topic("6.3", "In which order to learn", 15, {"sft/curriculum.py": {
        "ordered": (
            "refuse an unknown order; shuffle a copy with random.Random(f\"order {seed}\")",
            "then sort stably: by difficulty, by length, or the hardest first")},
        "sft/data.py": {
        "ExampleRows.order": (
            "a shuffle by random.Random(f\"epoch {seed} {epoch}\"), kept for the epoch at hand",),
        "ExampleRows.batch": (
            "rows step * rows … in the endless order; packed rows are as wide as the context",)}},
        tests=("test_sft_data.py",), demo=("demo_curriculum.py", "--quick")),
    Topic("6.3b", "LoRA", 30, {"sft/lora.py": {
        "LoRALinear.__init__": (
            "refuse a rank beyond the matrix; freeze the base; scale = alpha / rank",
            "A is normal with 1 / sqrt(inputs), B is zero: at the start nothing changes"),
        "LoRALinear.forward": ("base(x) + scale * B (A x), in x's number format",),
        "LoRALinear.merged": ("add scale * B A to the base's weight; the base learns again",),
        "add_lora": (
            "freeze all; a detour for each Linear named in TARGETS; alpha is 2 * rank by default",
            "refuse a model without such a matrix; the embedding learns, unless told"),
        "merge_lora": ("each detour becomes its merged Linear; everything learns again",)}},
        tests=("test_evaluate_lora.py",), demo=("demo_before_after.py", "--quick")),
    Topic("6.4", "Scores and their intervals", 15, {"sft/evaluation.py": {
        "wilson": (
            "middle p + z²/2n, half z sqrt(p(1-p)/n + z²/4n²), both divided by 1 + z²/n",
            "nothing asked: 0 to 1"),
        "token_f1": (
            "words in small letters, without a final full stop; a word counts as often as both"
            " have it",
            "2 P R / (P + R); nothing in common: 1 only if both are empty")}},
        tests=("test_evaluate_lora.py",), demo=("demo_before_after.py", "--quick")),
]
