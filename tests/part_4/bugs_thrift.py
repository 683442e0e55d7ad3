"""Bugs of recomputing and compiling, and of a causal pass in pieces."""

from planted import Bug

THRIFT, TEST = "part_4/run/thrift.py", "tests/part_4/test_thrift.py"
STOP_7, STOP_8, STOP_9 = (f"tests/part_{n}/test_stop_and_go.py" for n in (7, 8, 9))
PREFILL = "tests/part_4/test_prefill.py"

BUGS = [
    Bug("a piece of a causal pass sees as the first one does", "part_4/gpt/layers.py",
        "is_visible[..., i:end, :end]", "is_visible[..., :end - i, :end]", PREFILL),
    Bug("a long causal pass is computed whole", "part_4/gpt/layers.py",
        "step = PIECE if T > 2 * PIECE else T", "step = T", PREFILL),
    Bug("a recomputed block draws another dropout", "part_4/gpt/model.py",
        "checkpoint(block, x, plan, use_reentrant=False)",
        "checkpoint(block, x, plan, use_reentrant=False, preserve_rng_state=False)", TEST),
    Bug("nothing is recomputed", THRIFT, "part.recompute = recompute", "part.recompute = False", TEST),
    Bug("a copy runs the blocks of the model that was compiled", THRIFT,
        "block.forward = MethodType(forward, block)",
        "block.forward = lambda x, plan, block=block: forward(block, x, plan)", TEST),
    Bug("each token of a reply is compiled", THRIFT, "(fast if plan.cache is None else plain)", "fast",
        TEST),
    Bug("every block is compiled anew", THRIFT,
        "    fast = torch.compile(plain)\n\n    def forward(self, x: torch.Tensor, plan) -> torch.Tensor:\n",
        "\n    def forward(self, x: torch.Tensor, plan) -> torch.Tensor:\n"
        "        fast = torch.compile(plain)\n", TEST),
    Bug("a missing compiler is found out by torch", THRIFT,
        "        check_compiler(next(model.parameters()).device)\n", "        pass\n", TEST),
    Bug("whatever the format, a model is rounded to bfloat16", THRIFT, "module.to(runtime.amp_dtype)",
        "module.to(torch.bfloat16)", TEST),
    Bug("norms' weights alone are rounded", THRIFT, "isinstance(module, (nn.Linear, nn.Embedding))",
        "type(module).__name__ == 'RMSNorm'", TEST),
    Bug("the trainings of later parts forget their flags", "part_7/run/progress.py",
        "        spend_less(model, *self.thrift)\n", "", STOP_7),
    Bug("a resume of the reward model may not recompute", "part_7/train_reward.py",
        '"held_out_items", "recompute", "compile", "shard")', '"held_out_items")', STOP_7),
    Bug("the training of experts does not hear the flags", "part_5/train_moe.py",
        "spend_less(model, args.recompute, args.compile)", "model", "tests/part_5/test_resume.py"),
]
