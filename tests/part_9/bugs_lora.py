"""Mistakes in GRPO by LoRA; each must fail a test."""

from planted import Bug

TEST = "tests/part_9/test_lora_grpo.py"
BUGS = [
    Bug("GRPO's reference is the policy itself", "part_9/reasoning/grpo_loop.py",
        "shard(reference_of(self.model, settings, seed, processes), processes,",
        "shard((reference_of(self.model, settings, seed), self.model)[1], processes,", TEST),
    Bug("GRPO saves the weights without what was learnt", "part_9/reasoning/grpo_report.py",
        "weights=merged_weights(model, model_state(model)),",
        "weights=model_state(run.grpo.reference),", TEST),
    Bug("GRPO saves no adapter", "part_9/reasoning/grpo_report.py",
        "training=lora_training(model, run.begun_from))", "training=None)", TEST),
    Bug("GRPO's settings are not checked", "part_9/reasoning/grpo_settings.py",
        "        check_lora(self.lora, self.weights)\n", "", TEST),
]
