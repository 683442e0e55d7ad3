"""Planted bugs of rough use, parts 6 to 9: flags that mean nothing, flags beside --quick, closed streams."""

from planted import Bug

SIX, NINE = "tests/part_6/test_scripts.py", "tests/part_9/test_scripts.py"
NUMBERS = "test_a_number_without_a_meaning_is_refused_at_once"
NOTHING = "test_a_demo_of_nothing_is_refused"
BEFORE = "tests/part_0/test_before_torch.py"
QUICK = "tests/part_2/test_rough_use.py::test_a_flag_that_was_given_counts_with_quick_too"

BUGS = [
    Bug("a negative number of examples to pack", "part_6/demo_packing.py", "    if n < 1:",
        "    if n is None:", f"{SIX}::{NOTHING}"),
    Bug("a tuning of no steps", "part_6/demo_label_mask.py", "    if steps < 1:",
        "    if steps is None:", f"{SIX}::{NOTHING}"),
    Bug("a negative rank of LoRA", "part_6/demo_curriculum.py", "    if args.lora < 0:",
        "    if args.lora is None:", f"{SIX}::{NOTHING}"),
    Bug("all but the last wrong replies are shown", "part_9/evaluate_reasoning.py",
        "    if args.show < 0:", "    if args.show is None:", f"{NINE}::{NUMBERS}"),
    Bug("all but the last mistakes are shown", "part_6/evaluate.py", "    if args.show < 0:",
        "    if args.show is None:", f"{SIX}::{NOTHING}"),
    Bug("a reply is wanted to be worse by a margin", "part_7/train_reward.py",
        "        if getattr(args, name) < 0:", "        if getattr(args, name) is None:",
        "tests/part_7/test_own_pairs.py::test_rates_without_a_meaning_are_refused"),
    Bug("all but the last replies of PPO are shown", "part_8/evaluate_ppo.py",
        "    if args.show < 0:", "    if args.show is None:", "tests/part_8/test_scripts.py::"
        "test_a_negative_number_of_replies_to_show_is_refused"),
    Bug("the right form costs", "part_9/train_grpo.py", "    if args.form_weight < 0:",
        "    if args.form_weight is None:", f"{NINE}::{NUMBERS}"),
    Bug("an empty host is the whole network", "part_9/page.py",
        "if not args.host.strip() or not 0", "if not 0", f"{NINE}::{NUMBERS}"),
    Bug("any number is a port", "part_9/page.py", "or not 0 <= args.port < 2**16:", "or False:",
        f"{NINE}::{NUMBERS}"),
    Bug("--quick overrides the steps that were given", "part_8/demo_ppo.py",
        "    steps = (10 if args.quick else SETTINGS.steps) if args.steps is None else args.steps\n",
        "    steps = 10 if args.quick else args.steps or SETTINGS.steps\n", QUICK),
    Bug("a byte without a token is passed over", "part_3/pretrained/tokenizer.py",
        "if lacks := self.missing.intersection(", "if lacks := set() and self.missing.intersection(",
        "tests/part_3/test_added_tokens.py"),
    Bug("a tokenizer that lacks rare bytes is refused", "part_3/pretrained/tokenizer.py",
        "_MOST_ABSENT = 64", "_MOST_ABSENT = 0", "tests/part_3/test_added_tokens.py"),
    Bug("a loss of nan is trained on to the end", "part_1/demo_encoder_decoder.py",
        "        if not math.isfinite(losses[-1]):", "        if steps - 1 == step and not math.isfinite("
        "losses[-1]):", "tests/part_1/test_scripts.py::"
        "test_the_words_backwards_are_trained_as_the_flags_say"),
    Bug("tokens past the context lose what was written", "part_3/load_pretrained.py",
        "        n_new = min(args.tokens, room)", "        n_new = args.tokens",
        "tests/part_3/test_load_pretrained.py"),
    Bug("of a field that comes twice the first is dropped", "part_6/files/records.py",
        "        if name in record:", "        if name is None:", "tests/part_6/test_records.py"),
    Bug("Python's own word about an endless number", "part_6/files/records.py",
        "    if len(text) > 4000:", "    if len(text) > 9000:", "tests/part_6/test_records.py"),
    Bug("a closed output ends a script", "part_0/before_torch.py",
        "        if getattr(sys, name) is None:\n", "        if False:\n", BEFORE),
    Bug("a temporary file's name is told", "part_0/before_torch.py",
        "r\"(^|/)\\.([^/]+)\\.\\d+\\.tmp$\"", "r\"^$\"", BEFORE),
]
