"""Topics of part 7, a reward model, for practice.py."""

from practice_room.topics import Topic

TOPICS = [
    Topic("7.1", "Which reply is better, as people say it", 15, {"reward/preferences.py": {
        "make_pair": (
            "the gap is the judge's value of the one minus that of the other",
            "too close to call, or the same text: None",
            "the better one is chosen, unless the label is flipped; the gap turns with them")}},
        tests=("test_preferences.py",), demo=("demo_ranking.py", "--quick")),
    Topic("7.1b", "Pairs in batches", 30, {"reward/data.py": {
        "encode_pairs": (
            "both sides as tokens; what does not fit, or is the same, is left out and counted",),
        "pieces_of": (
            "a piece is full when it has `rows` different replies",),
        "batches_of": (
            "pairs of one prompt stay together; groups of like length stand together",
            "a batch is full at `rows` different replies; the batches come in random order",
            "the last, not full, is left out unless it is the only one"),
        "pair_batch": (
            "each different row once; `last` is its last token; where each side is among them",)}},
        tests=("test_reward_data.py",), demo=("demo_ranking.py", "--quick")),
    Topic("7.2", "One number in place of the vocabulary", 30, {"reward/model.py": {
        "PlainRewardModel.token_scores": (
            "the features of the body through the head, in float32",),
        "PlainRewardModel.forward": (
            "the score at the last real token of each row: gather",),
        "RewardModel.features": (
            "of the model's own body unless told; shared rows are taken, read, given back",
            "causal: body.features(ids); bidirectional: a plan without the causal flag whose"
            " keys are all real tokens"),
        "RewardModel.train": (
            "as always, but the witness stays in evaluation mode",),
        "RewardModel.forward": (
            "the token scores at the last real token",)}},
        tests=("test_reward_model.py",), demo=("demo_score_by_token.py", "--quick")),
    Topic("7.2b", "What a witness makes of each token", 40, {"reward/model.py": {
        "RewardModel.reply_places": (
            "real tokens behind the last reply_token of their row, never column 0",
            "flip, running count, flip: is there a reply_token here or later?"),
        "RewardModel.doubts": (
            "the witness's logits at the column before; u = 1 - p(said) / p(its own choice)",),
        "RewardModel.token_scores": (
            "the head's scores; without a witness that is all",
            "each token of the reply costs softplus(cost) + softplus(care) * its doubt",
            "what was taken adds up along the row: cumsum, and is taken off")}},
        tests=("test_reward_model.py",), demo=("demo_score_by_token.py", "--quick")),
    Topic("7.3", "Losses for pairs", 20, {"reward/losses.py": {
        "bradley_terry": (
            "check the scores; refuse a smoothing of half or more; d = chosen - rejected - margin",
            "minus the mean of (1 - ε) log σ(d) + ε log σ(-d)"),
        "margin_ranking": (
            "refuse a margin that is not above 0; max(0, margin - d), the mean",),
        "centring": ("the mean of the squares of chosen + rejected",),
        "win_rate": ("σ(chosen - rejected)",)}},
        tests=("test_losses.py",), demo=("demo_bradley_terry.py", "--quick")),
    Topic("7.3b", "Strengths from a table of wins", 25, {"reward/losses.py": {
        "fit_strengths": (
            "refuse what is no square of counts; nobody plays against itself",
            "who never won or never lost has no finite strength: refuse, and name them",
            "π_i <- wins / sum over j of n_ij / (π_i + π_j), divided by the geometric mean;"
            " give log π")}},
        tests=("test_losses.py",), demo=("demo_bradley_terry.py", "--quick")),
    Topic("7.4", "Can it be trusted?", 25, {"reward/scores.py": {
        "accuracy": ("the share with chosen above rejected; a tie counts half",),
        "calibration": (
            "look at each pair from the side that is predicted to win: σ(|d|)",
            "sorted by prediction, in bins of equally many; mean predicted and observed, count",
            "the error weighs each bin by how many pairs it has"),
        "ranks": ("1, 2, 3 … from the smallest; equal values share the mean of their ranks",),
        "pearson": (
            "both centred; the sum of products over the root of the sums of squares; 0 for none",)}},
        tests=("test_scores.py",), demo=("demo_sanity.py", "--quick")),
]
