"""Topics of part 8, PPO and DPO, for practice.py."""

from practice_room.topics import Topic

TOPICS = [
    Topic("8.1", "Policy and value head", 35, {"rl/policy.py": {
        "response_features": (
            "a reply token was drawn from the features of the column before it",
            "each row by itself: body.features of all but the last column, at [row, before]",
            "rows of one prompt are read together: share_prompts, take, plan, places"),
        "token_logp": (
            "logits in float32, divided by the temperature, log_softmax",
            "the drawn token's, and the entropy: minus the sum of p log p"),
        "Policy.forward": (
            "features once; log-probabilities and entropy, and the value head's number",
            "each spread over (B, R): zero outside the replies"),
        "frozen_copy": ("a deep copy, in evaluation, that learns nothing",)}},
        tests=("test_policy.py",), demo=("demo_clipping.py", "--quick")),
    Topic("8.1b", "Rows of prompts and replies", 20, {"rl/policy.py": {
        "Rows.lengths": ("where the reply begins, plus how many tokens it has",),
        "Rows.columns": (
            "first + 0, 1, 2 … for every row; never beyond the last column",),
        "Rows.responses": ("the ids at those columns",),
        "Rows.pick": (
            "some rows, cut to the longest of them, and their replies to the longest reply",),
        "spread": ("the N numbers to their places in (B, R), zero elsewhere",)}},
        tests=("test_policy.py",), demo=("demo_clipping.py", "--quick")),
    Topic("8.2", "The reward of each token", 20, {"rl/ppo.py": {
        "last_position": (
            "refuse a row without any response token; the largest column that is one",),
        "leave_one_out": (
            "each score minus the mean of its siblings' scores; alone: unchanged",),
        "token_rewards": (
            "every response token pays beta times its KL; the score is added at the last",)}},
        tests=("test_ppo.py", "test_ppo_loop.py"), demo=("demo_gae.py", "--quick")),
    Topic("8.3", "The clipped policy loss", 25, {"rl/ppo.py": {
        "policy_loss": (
            "the ratio is exp(logp - old_logp), 1 outside responses",
            "minus advantage times ratio, and the same with the ratio clamped on both sides",
            "the larger of the two losses counts: the pessimist's choice; a masked mean",
            "clipped where the clamped loss is the larger; KL: the mean of ratio - 1 - log ratio")}},
        tests=("test_ppo.py",), demo=("demo_clipping.py", "--quick")),
    Topic("8.3b", "The clipped value loss", 15, {"rl/ppo.py": {
        "value_loss": (
            "the squared distance to the returns",
            "with clip: the values moved at most `clip` from the old ones; the larger error",
            "half the masked mean"),
        "explained_variance": (
            "1 - variance of what is left / variance of the returns; 0 where those are constant",)}},
        tests=("test_ppo.py",), demo=("demo_gae.py", "--quick")),
    Topic("8.4", "Advantages by GAE", 25, {"rl/ppo.py": {
        "gae": (
            "rewards and values count in responses alone; go from the last column to the first",
            "delta = reward + gamma * the next value - the value; beyond the end that is 0",
            "A = delta + gamma * lam * the next A; returns are A plus the values")}},
        tests=("test_ppo.py",), demo=("demo_gae.py", "--quick")),
    Topic("8.4b", "PPO on a page", 60, {"rl/ppo_plain.py": {
        "sample": (
            "draw from the softmax of the last place; what has ended gets padding",
            "is_response: zeros for the prompt, then who was going on before the token (END too)"),
        "logp_and_values": (
            "features of all but the last column; log-softmax; that of the token that came next",),
        "token_rewards": ("the KL on every response token, the score on the last one",),
        "gae": ("values behind the end are 0; from the last column to the first",),
        "whiten": ("by mean and variance of the response tokens alone",),
        "ppo_loss": (
            "the clipped policy loss and, weighted, the clipped value loss; a mean over responses",),
        "learn": (
            "measured once, without gradients: old and reference log-probabilities, rewards,"
            " advantages, then whitened",
            "each epoch: forward, loss, zero_grad, backward, clip both models' gradients, step",
            'tell "score", "KL" (of a whole reply), "score - beta KL", "tokens", and the share'
            ' of response tokens whose ratio is over clip away from 1: "ratio beyond clip"')}},
        tests=("test_ppo_plain.py",), demo=("demo_ppo.py", "--quick")),
    Topic("8.4c", "Minibatches and their pieces", 20, {"rl/steps.py": {
        "minibatches": (
            "every row once, in random order; copies of a prompt stay together where they divide"
            " the size",),
        "pieces": (
            "sorted by length (stably), cut into pieces of `size`",
            "siblings side by side: sort by the longest of the prompt, then by the prompt"),
        "take_step": (
            "unscale, clip (0: no limit), step, update the scaler, forget; give the norm",)}},
        tests=("test_ppo_loop.py",), demo=("demo_ppo.py", "--quick")),
    Topic("8.5", "Means over the tokens that count", 15, {"rl/ppo.py": {
        "masked_mean": ("refuse a batch without any; the sum over them, divided by their number",),
        "masked_variance": (
            "squares around the masked mean, divided by n - 1 (by 1 for n = 1)",),
        "whiten": (
            "minus the mean, divided by the standard deviation; zero outside responses",
            "without shift_mean the mean is added again")}},
        tests=("test_ppo.py",), demo=("demo_wrong_on_purpose.py", "--quick")),
    Topic("8.5b", "A leash that adapts", 10, {"rl/ppo.py": {
        "AdaptiveKL.update": (
            "how far the KL is from its target, as a share, at most 0.2 either way",
            "beta times 1 + that times episodes / horizon"),
        "LengthControl.update": (
            "a tenth less where the KL is above 1.5 times its target, else a tenth more",
            "rounded, and never beyond `least` and `most`")}},
        tests=("test_ppo.py",), demo=("demo_overoptimization.py", "--quick")),
    Topic("8.6", "DPO", 15, {"rl/dpo.py": {
        "implicit_reward": ("beta times how much likelier than under the reference",),
        "dpo_loss": (
            "refuse what has no meaning; d = reward of the chosen - reward of the rejected",
            "minus the mean of (1 - ε) log σ(d) + ε log σ(-d)",
            "accuracy: the share with d above 0, a tie counts half; the two mean rewards")}},
        tests=("test_dpo.py",), demo=("demo_overoptimization.py", "--quick")),
]
