"""Mistakes with a reward model that learns by LoRA; each must fail a test."""

from planted import Bug

TEST = "tests/part_7/test_lora_reward.py"
TRAIN, MODEL = "part_7/train_reward.py", "part_7/reward/model.py"
SAVED = "part_7/reward/checkpoint.py"
BUGS = [
    Bug("the witness hears the detours", TRAIN, "args.weights, args.seed) if args.lora else None",
        "args.weights, args.seed) and body if args.lora else None", TEST),
    Bug("the witness is a second copy", MODEL,
        "witness = copy.deepcopy(body) if witness is None else witness",
        "witness = copy.deepcopy(body if witness is None else witness)", TEST),
    Bug("a reward model by LoRA is saved without what was learnt", SAVED,
        '"weights": merged_weights(model, weights),',
        '"weights": {k.replace(".base.", "."): v.float() for k, v in weights.items()\n'
        '                           if not k.endswith((".a", ".b"))},', TEST),
    Bug("saving writes what was learnt into the frozen weights", SAVED,
        "weights = {k: v.detach().cpu().clone()", "weights = {k: v.detach().cpu()", TEST),
    Bug("Muon moves the detours of a reward model", TRAIN, "muon=0.0 if args.lora else", "muon=",
        TEST),
    Bug("a reward model's settings of LoRA are not checked", TRAIN,
        "    check_lora(args.lora, args.weights)\n", "", TEST),
]
