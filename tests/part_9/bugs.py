"""Plausible mistakes in part 9, each of which its tests must catch."""

from planted import Bug

GRPO, LOOP = "part_9/grpo.py", "part_9/grpo_loop.py"
TASKS, REWARDS, TOOLS = "part_9/tasks.py", "part_9/rewards.py", "part_9/tools.py"
USE, REASONING, JUDGE = "part_9/tool_use.py", "part_9/reasoning.py", "part_9/evaluate_reasoning.py"
T_GRPO, T_LOOP = "tests/part_9/test_grpo.py", "tests/part_9/test_grpo_loop.py"
T_TASKS, T_REWARDS = "tests/part_9/test_tasks.py", "tests/part_9/test_rewards.py"
T_TOOLS, T_USE = "tests/part_9/test_tools.py", "tests/part_9/test_tool_use.py"
T_REASONING = "tests/part_9/test_reasoning.py"
T_JUDGE = "tests/part_9/test_evaluate_reasoning.py"

BUGS = [
    # the arithmetic
    Bug("the batch's mean in place of the group's", GRPO, "groups.mean(dim=1, keepdim=True)",
        "groups.mean()", T_GRPO),
    Bug("groups are taken across prompts", GRPO, "    groups = rewards.view(-1, group_size)\n"
        "    centred", "    groups = rewards.view(group_size, -1).T\n    centred", T_GRPO),
    Bug("biased standard deviation", GRPO, "groups.std(dim=1, keepdim=True)",
        "groups.std(dim=1, keepdim=True, unbiased=False)", T_GRPO),
    Bug("scale is ignored", GRPO, "    if scale:\n        centred", "    if True:\n        centred",
        T_GRPO),
    Bug("rounding becomes a signal", GRPO, "    centred = centred.masked_fill(is_equal, 0.0)"
        "  # rounding of the mean must not become a signal\n", "", T_GRPO),
    Bug("NaN rewards pass", GRPO, "if not bool(rewards.isfinite().all()):", "if False:", T_GRPO),
    Bug("the sign of the advantage", GRPO, "plain = -advantage * ratio\n",
        "plain = advantage * ratio\n", T_GRPO),
    Bug("the ratio is turned round", GRPO, "logp - old_logp, 0.0)\n    ratio",
        "old_logp - logp, 0.0)\n    ratio", T_GRPO),
    Bug("minimum for maximum", GRPO, "torch.maximum(plain, clipped)",
        "torch.minimum(plain, clipped)", T_GRPO),
    Bug("clip-higher is ignored", GRPO, "ratio.clamp(1 - clip_low, 1 + clip_high)",
        "ratio.clamp(1 - clip_low, 1 + clip_low)", T_GRPO),
    Bug("k1 as the loss", GRPO, "return d.exp() - 1 - d", "return -d", T_GRPO),
    Bug("k3 turned round", GRPO, "d = ref_logp - logp\n", "d = logp - ref_logp\n", T_GRPO),
    Bug("the KL is subtracted", GRPO, "per_token + beta * kl", "per_token - beta * kl", T_GRPO),
    Bug("the KL is measured and not added", GRPO, "per_token + beta * kl",
        "per_token + 0.0 * kl", T_GRPO),
    Bug("the token mean for the sequence mean", GRPO, "(values.sum(dim=1) / counts).mean()",
        "values.sum() / counts.sum()", T_GRPO),
    Bug("padding counts in the mean", GRPO, "counts = is_response.sum(dim=1)",
        "counts = torch.full_like(is_response.sum(dim=1), is_response.size(1))", T_GRPO),
    Bug("the length penalty begins too late", GRPO, "(lengths - (limit - soft))",
        "(lengths - limit)", T_GRPO),
    # the loop
    Bug("the reference is trained too", LOOP, "self.reference = frozen_copy(model)",
        "self.reference = model", T_LOOP),
    Bug("old log-probabilities from the reference", LOOP,
        "models = [self.model if len(order)", "models = [self.reference if len(order)", T_LOOP),
    Bug("old log-probabilities follow the policy", LOOP,
        "logp.detach() if old is None else old", "logp.detach()", T_LOOP),
    Bug("pieces weigh the same", LOOP,
        "share = held if s.normaliser == \"token\" else len(piece) / len(part)",
        "share = len(piece) / len(part)", T_LOOP),
    Bug("equal groups are kept", LOOP, "if not s.drop_equal:", "if True:", T_LOOP),
    Bug("advantages of other rows", LOOP, "advantages[kept], order)",
        "advantages[:len(kept)], order)", T_LOOP),
    Bug("the gradient is never forgotten", LOOP,
        "        self.optimizer.zero_grad(set_to_none=True)\n", "", T_LOOP),
    Bug("every step draws the same", LOOP, "manual_seed(1_000_003 * self.seed + self.steps_done)",
        "manual_seed(self.seed)", T_LOOP),
    Bug("all seeds draw the same", LOOP, "1_000_003 * self.seed + self.steps_done",
        "(self.seed << 32) + self.steps_done", T_LOOP),
    Bug("the soft length is ignored", LOOP, "if s.soft_length:", "if False:", T_LOOP),
    Bug("only the first pass is shuffled", LOOP, "return [list(torch.randperm(rows, "
        "generator=generator).split(size))\n                for _ in range(self.settings.epochs)]",
        "return [list(torch.randperm(rows, generator=generator).split(size))] "
        "* self.settings.epochs", T_LOOP),
    # tasks and rewards
    Bug("held-out operands in another order are trained on", TASKS,
        "hash_of(f\"{name} {sorted(numbers)}\")", "hash_of(f\"{name} {list(numbers)}\")", T_TASKS),
    Bug("test problems are trained problems", TASKS, "== (split != \"train\"):",
        "in (True, False):", T_TASKS),
    Bug("new wordings are old ones", TASKS, "wording = trained + rng.randrange(HELD_OUT_WORDINGS)",
        "wording = rng.randrange(trained)", T_TASKS),
    Bug("the search forgets to take back", "part_9/task_families.py", "        signs.pop()\n", "", T_TASKS),
    Bug("thousands' commas spoil answers", TASKS, ".strip().replace(\",\", \"\")", ".strip()",
        T_TASKS),
    Bug("unended replies are paid", REWARDS, "        if not ended:\n            return 0.0\n", "",
        T_REWARDS),
    Bug("any number in the answer will do", REWARDS,
        "number_in(answer) == problem.answer", "problem.answer in answer", T_REWARDS),
    Bug("countdown's numbers may be used twice", REWARDS, "used == sorted(problem.numbers) and ",
        "", T_REWARDS),
    Bug("rewards go to the wrong rows", REWARDS, "problems[i // copies], reply",
        "problems[i % len(problems)], reply", T_REWARDS),
    Bug("words before the steps are in form", REWARDS, "FORM.fullmatch(reply)",
        "FORM.search(reply)", T_REWARDS),
    # tools
    Bug("minus binds to the right", TOOLS, "else value - self.term())",
        "else value - self.expression())", T_TOOLS),
    Bug("powers bind to the left", TOOLS, "return raised(base, self.factor())",
        "return raised(base, self.atom())", T_TOOLS),
    Bug("huge powers are worked out", TOOLS, "if bits * abs(exponent) > LARGEST_BITS:",
        "if False:", T_TOOLS),
    Bug("brackets without end", TOOLS, "if self.depth > DEEPEST:", "if False:", T_TOOLS),
    Bug("what follows the expression is ignored", TOOLS, "        if self.peek():\n"
        "            raise Refused(f\"{self.peek()!r} stands where the expression should end\")\n",
        "", T_TOOLS),
    Bug("the tool's result is a label", USE, "+ [False] * len(read)", "+ [True] * len(read)",
        T_USE),
    Bug("a call that is cut off is run", USE,
        "call = pending_call(texts[i], tokenizer) if ids[-1] == run else None",
        "call = pending_call(texts[i] + ([] if ids[-1] == run else [run]), tokenizer)", T_USE),
    Bug("calls without end", USE, "if call and len(calls[i]) < most_calls:", "if call:", T_USE),
    Bug("the result counts as the model's own", USE, "owns[i] += [False] * len(read)",
        "owns[i] += [True] * len(read)", T_USE),
    Bug("an old call is run again", USE,
        "        if ids[place] in (tokenizer.id_of(RUN), tokenizer.id_of(DONE)):\n"
        "            break\n", "", T_USE),
    # judging
    Bug("pass@k as a simple power", REASONING,
        "return 1 - math.comb(n - right, k) / math.comb(n, k)",
        "return 1 - (1 - right / n) ** k", T_REASONING),
    Bug("silence votes", REASONING, "[text for text in texts if ANSWER_MARK in text] or texts",
        "texts", T_REASONING),
    Bug("false steps support an answer", JUDGE, "not all(step.holds for step in steps) or ", "",
        T_JUDGE),
    Bug("steps need not hang together", JUDGE, " or not hang_together(problem, steps)", "",
        T_JUDGE),
    Bug("the changed step changes nothing", JUDGE, "{steps[0].result + shift}.\"",
        "{steps[0].result}.\"", T_JUDGE),
    Bug("the answer before is taken for the one after", JUDGE,
        "sum(a == c.answer for a, c", "sum(a == c.before for a, c", T_JUDGE),
]
