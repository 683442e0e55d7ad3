"""Bugs of models in slices (--shard): what is gathered, added up, clipped, and read equally often."""

from planted import Bug

DISTRIBUTED_6, DISTRIBUTED_8 = (f"part_{n}/run/distributed.py" for n in (6, 8))
DPO, PPO = "part_8/train_dpo.py", "part_8/rl/ppo_loop.py"
GRPO, OPTIM_6 = "part_9/reasoning/grpo_loop.py", "part_6/run/optim.py"
TEST_6, TEST_7, TEST_8, TEST_9 = (f"tests/part_{n}/test_processes.py" for n in (6, 7, 8, 9))

BUGS = [
    Bug("the flag is not heard", "part_6/run/progress.py",
        "shards=processes.world > 1 and", "shards=False and", TEST_6),
    Bug("tuning keeps the whole base beside its slice", "part_6/train_sft.py",
        "        if self.processes.shards:  # it is read again when it is asked\n"
        "            self.base = None\n", "", TEST_6),
    Bug("the checkpoint holds the slices of one process", OPTIM_6,
        "    return {name: whole(value).detach().cpu().clone()\n",
        "    return {name: getattr(value, '_local_tensor', value).detach().cpu().clone()\n", TEST_6),
    Bug("slices take the mean where the loss was divided already", DISTRIBUTED_8,
        "                    part.set_gradient_divide_factor(1.0)\n",
        "                    part.set_gradient_divide_factor(float(processes.world))\n", TEST_8),
    Bug("the value head learns from its own process only", DISTRIBUTED_8,
        "if processes.world == 1 or not learnt:  #", "if processes.world == 1 or processes.shards:  #",
        TEST_8),
    Bug("the gradient is clipped by what lies in slices alone", DISTRIBUTED_8,
        "for part in parts if part))", "for part in parts[:1]))", TEST_8),
    Bug("the policy that writes replies is not gathered again", DISTRIBUTED_8,
        "    if model in hollows:\n        for p in whole_one.parameters():\n"
        "            p.data = p.data.new_empty(0)\n", "    hollows.pop(model, None)\n", TEST_8),
    Bug("DPO's reference stays whole", DPO,
        "shard(reference_of(body, settings, args.seed, processes), processes,\n"
        "                          runtime.device)",
        "reference_of(body, settings, args.seed, processes)", TEST_8),
    Bug("PPO's reference stays whole", PPO,
        "self.reference = shard(reference, processes, runtime.device)", "self.reference = reference",
        TEST_8),
    Bug("PPO's reward model stays whole", "part_8/rl/scoring.py",
        "    shard(model, processes, runtime.device, *model.bodies)\n", "", TEST_8),
    Bug("what is read for the others' sake is learnt from", "part_9/rl/steps.py",
        "own.append((every[0], 0))", "own.append((every[0], 1))", TEST_9),
    Bug("GRPO learns from what is read for the others' sake", GRPO,
        "held = counts * int(few.is_response.sum()) / tokens",
        "held = int(few.is_response.sum()) / tokens", TEST_9),
    Bug("a process without pairs lets the others wait", "part_8/rl/dpo_pairs.py",
        "for piece in pieces if piece or processes.shards]", "for piece in pieces if piece]", TEST_8),
    Bug("the reward's pair that is read for the others' sake counts", "part_7/train_reward.py",
        "learn_from(pairs[:1], encoded[:1], math.inf, model", "learn_from(pairs[:1], encoded[:1], 1, model",
        TEST_7),
]
