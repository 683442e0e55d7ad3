"""Topics of part 9, GRPO and reasoning, for practice.py."""

from practice_room.topics import Topic

TOPICS = [
    Topic("9.2", "Advantages within a group", 20, {"reasoning/grpo.py": {
        "group_advantages": (
            "refuse groups of one, rewards that do not fill the groups, and NaN",
            "each group minus its mean; where all are equal exactly 0",
            "scale: divided by the group's standard deviation (unbiased) + eps"),
        "has_signal": ("True for all answers of a group whose rewards differ",),
        "length_penalty": (
            "0 up to limit - soft tokens, then in a straight line to -1 at the limit, and no"
            " further",)}},
        tests=("test_grpo.py",), demo=("demo_group_baseline.py", "--quick")),
    Topic("9.3", "GRPO's loss", 30, {"reasoning/grpo.py": {
        "grpo_loss": (
            "the ratio, 1 outside responses; one advantage for all tokens of an answer",
            "clipped by clip_low below and clip_high above; the larger loss counts",
            "beta times the KL estimate is added; outside responses nothing may overflow",
            "averaged as the normaliser says; the figures over response tokens")}},
        tests=("test_grpo.py",), demo=("demo_grpo.py", "--quick")),
    Topic("9.3b", "Three ways to average", 15, {"reasoning/grpo.py": {
        "aggregate": (
            "nothing outside responses counts; refuse an answer without a token",
            "sequence: each answer's mean, then the mean; token: the mean over all tokens",
            "constant: the sum over tokens divided by `length`, the mean over answers")}},
        tests=("test_grpo.py",), demo=("demo_ppo_vs_grpo.py", "--quick")),
    Topic("9.4", "Estimates of the KL", 10, {"reasoning/grpo.py": {
        "kl_estimate": (
            "d = log(π_ref / π); k1 = -d, k2 = d²/2, k3 = exp(d) - 1 - d; refuse others",)}},
        tests=("test_grpo.py",), demo=("demo_kl_estimators.py", "--quick")),
    Topic("9.5", "GRPO on a page", 60, {"reasoning/grpo_plain.py": {
        "sample": (
            "draw from the softmax of the last place; what has ended gets padding",
            "is_response: zeros for the prompt, then who was going on before the token (END too)"),
        "logp_of": ("log-softmax of all but the last column; that of the token that came next",),
        "group_advantages": ("minus the group's mean, divided by its deviation + 1e-4",),
        "grpo_loss": (
            "the clipped loss with clip_low and clip_high, plus beta k3; mean over responses",),
        "learn": (
            "advantages, old and reference log-probabilities once, without gradients",
            "each epoch: forward, loss, zero_grad, backward, clip, step",
            'tell "reward", "KL" (of a whole reply), "groups with signal", "tokens", and the share'
            ' of response tokens beyond the clip: "ratio beyond clip"')}},
        tests=("test_grpo_plain.py",), demo=("demo_grpo.py", "--quick")),
    Topic("9.6", "Votes, best of k, pass@k", 25, {"reasoning/sampling.py": {
        "elected": (
            "read the answer of each reply that has ended; None has no vote",
            "where any marks its answer, only those vote; the answer with most votes",
            "a tie goes to the one said first; give the place of the first reply that says it"),
        "best_of": ("the reply with the highest score; a tie goes to the first",),
        "pass_at": (
            "refuse what cannot be; 1 - C(n - right, k) / C(n, k), 1 where fewer than k are wrong",),
        "right_counts": (
            "for each problem how many samples are right: is_right, which wants to know the end",)}},
        tests=("test_reasoning.py", "test_answers.py"),
        demo=("demo_self_consistency.py", "--quick")),
    Topic("9.6b", "What is the answer of a reply?", 50, {"reasoning/answers.py": {
        "read_answer": (
            "a sum alone is put in order; else what stands behind the last '='",
            "no digit, or a formula: the words themselves (None if there are none)",
            "what follows in a hedge or a bare number counts too; then the_number"),
        "the_number": (
            "numbers that go with others ('for 3 days') count only if there are no others",
            "behind 'not', 'than', 'least', 'most' a number is no answer; two answers are none"),
        "value_of": (
            "thousands' commas, decimals, a fraction, a power of ten, a sign; exactly: Fraction",
            "None for what is no number, is too long, or divides by zero"),
        "in_order": ("terms by size, the largest first; those taken off behind",),
        "as_text": ("single blanks, small letters, no marks around it",)}},
        tests=("test_answers.py",), demo=("demo_self_consistency.py", "--quick")),
    Topic("9.7", "A calculator that reads", 40, {"reasoning/tools.py": {
        "Parser.all": ("an expression, and nothing behind it",),
        "Parser.expression": ("terms joined by + and -, from left to right",),
        "Parser.term": ("factors joined by * and /, from left to right; refuse dividing by 0",),
        "Parser.factor": ("a minus sign before a factor, or a power; count how deep one is",),
        "Parser.power": ("an atom, and perhaps ^ and a factor: powers bind to the right",),
        "Parser.atom": ("a number, or an expression in brackets; else refuse",)}},
        tests=("test_tools.py",), demo=("demo_tool_use.py", "--quick")),
    Topic("9.7b", "Numbers of a size one can bear", 20, {"reasoning/tools.py": {
        "checked": ("refuse more than LARGEST_BITS in numerator or denominator",),
        "raised": (
            "whole exponents up to LARGEST_POWER; refuse before anything is multiplied",
            "bits of the base times the exponent; 0 to a negative power is a division by 0"),
        "written": (
            "in full if that ends within MOST_PLACES; else six decimals",
            "more where six would say a whole number")}},
        tests=("test_tools.py",), demo=("demo_tool_use.py", "--quick")),
    Topic("9.8", "Right, in form, and true step by step", 25, {"reasoning/rewards.py": {
        "steps_of": ("every written sum as a Step: STEP.findall gives its four parts",),
        "steps_hold": (
            "there are steps, each holds, and each comparison says Yes where it is equal",),
        "is_right": (
            "what was not ended is wrong; without a target: the gold answer's value",
            "with a target: each number once, and the sum is the target"),
        "has_form": ("ended, and all of the reply is in FORM",),
        "Checker.__call__": ("row i answers problems[i // copies]",),
        "Checker.reward": ("1 if right, plus form_weight if in form",)}},
        tests=("test_rewards.py", "test_answers.py"), demo=("demo_grpo.py", "--quick")),
]
