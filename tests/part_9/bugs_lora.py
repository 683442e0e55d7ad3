"""Mistakes in GRPO by LoRA; each must fail a test."""

from planted import Bug

TEST = "tests/part_9/test_lora_grpo.py"
PAGE = "tests/part_9/test_page_released.py"
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
    Bug("the page reads PPO's value head as if all weights had learnt", "part_9/seeing/models.py",
        "train_embedding=False) if rank else plain", "train_embedding=False) if False else plain", PAGE),
    Bug("the page shows half of what PPO has learnt by LoRA", "part_9/seeing/models.py",
        "add_lora(plain, rank, train", "add_lora(plain, rank, alpha=rank, train", PAGE),
]
