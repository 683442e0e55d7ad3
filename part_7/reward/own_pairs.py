"""Pairs of somebody's own file: what is learnt from them, held out, and told.

Rule   What does not fit into the context is left out first, so that something is left to be held out;
       then one prompt of ten is held out with all its pairs. Nobody knows how good these replies are:
       there is no margin, no share of wrong labels, no ceiling.
Used   train_reward.py, evaluate_reward.py
"""

from files.reading import divide, normalised
from text.tokenizer import Tokenizer

from reward.data import encode_pairs
from reward.preferences import Pair, read_pair_file
from reward.sources import RewardData


def pair_key(pair: Pair) -> tuple:
    """What a pair answers: the same for all pairs of one prompt."""
    return tuple((turn.role, normalised(turn.content)) for turn in pair.prompt)


def usable_pairs(path, tokenizer: Tokenizer, context: int) -> list[Pair]:
    """The pairs of a file that fit and can be told apart; what was read and left out is shown."""
    pairs, reading = read_pair_file(path)
    print("\n".join(reading.lines()))
    _, kept, left_out = encode_pairs(pairs, tokenizer, context)
    if any(left_out.values()):
        print(f"        left out: {left_out['too long']:,} pairs with a reply that does not fit into "
              f"{context} tokens, {left_out['the same']:,} with the same tokens on both sides")
    if not kept:
        raise ValueError(f"{path}: no pair fits into the model's context of {context} tokens")
    return kept


def file_data(args, tokenizer: Tokenizer, context: int) -> RewardData:
    """A file's pairs to learn from (args.pairs at most; 0: all) and held out, by prompt."""
    if args.loss == "margin":
        raise ValueError("--loss margin needs the gap in quality between two replies, and a file of "
                         "pairs says only which is better; leave out --loss margin, or use --loss "
                         "ranking, whose margin is one number")
    pairs = usable_pairs(args.data, tokenizer, context)
    division = divide([[pair_key(pair)] for pair in pairs],
                      [(pair.prompt, pair.chosen, pair.rejected) for pair in pairs])
    print(division.line())
    learnt = [pairs[i] for i in division.learnt]
    if 0 < args.pairs < len(learnt):
        print(f"        the first {args.pairs:,} of them are learnt from (--pairs)")
        learnt = learnt[:args.pairs]
    return RewardData(learnt, [pairs[i] for i in division.held_out],
                      about={"file": args.data.name, "prompts": division.prompts,
                             "read_once": division.twice})
