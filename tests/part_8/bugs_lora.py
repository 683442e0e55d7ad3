"""Mistakes in a policy that learns by LoRA; each must fail a test."""

from planted import Bug

LORA, TEST = "part_8/sft/lora.py", "tests/part_8/test_lora_policy.py"
BUGS = [
    Bug("the reference is a second copy of the weights", LORA,
        "copy.deepcopy(model, same).eval()", "copy.deepcopy(model).eval()", TEST),
    Bug("the reference has the detours too", LORA,
        "reference = copy.deepcopy(model, same).eval()  # what `same` holds is not copied\n",
        "reference = model\n", TEST),
    Bug("the embedding learns, and the reference's with it", LORA,
        "add_lora(model, rank, train_embedding=False)", "add_lora(model, rank)", TEST),
    Bug("detours drawn from whatever was drawn before", LORA,
        "        torch.manual_seed(seed)  # in all processes the same detours\n", "", TEST),
    Bug("saving folds the detours into the weights that the reference reads", LORA,
        '            weights[f"{at}.weight"] += change\n',
        '            weights[f"{at}.weight"] += change\n            module.base.weight.data += change\n',
        TEST),
    Bug("the detours are saved without their scale", LORA,
        'change = module.scale * weights.pop', "change = weights.pop", TEST),
    Bug("what is saved is the reference", LORA,
        '            weights[f"{at}.weight"] += change\n', "", TEST),
    Bug("--weights is forgotten", LORA, "    model.to(getattr(torch, weights))\n", "", TEST),
    Bug("a rank below 0 is let through", LORA, "    if rank < 0:\n", "    if rank < -9:\n", TEST),
    Bug("bfloat16 weights that are trained", LORA,
        'if weights == "bfloat16" and not rank:', "if False:", TEST),
    Bug("features in bfloat16 meet a value head in float32", "part_8/rl/policy.py",
        "        features = features.to(self.value_head.weight.dtype)  # frozen weights may be bfloat16\n",
        "", TEST, practised=False),
    Bug("--lora is forgotten in PPO and DPO", "part_8/rl/policy.py",
        "    if settings.lora:\n", "    if False:\n", TEST),
    Bug("DPO saves no adapter", "part_8/train_dpo.py",
        "training=lora_training(body, args.sft)", "training=None", TEST),
    Bug("PPO's settings are not checked", "part_8/rl/ppo_settings.py",
        "        check_lora(self.lora, self.weights)\n", "", TEST),
]
