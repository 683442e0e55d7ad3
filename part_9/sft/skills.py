"""Skills: instructions with gold answers and checkers, without end, from the little world.

    for item in sample(seed=1, split="train"): print(item.prompt, "->", item.answer)

An Item is one instruction: a skill, one of its wordings, drawn content, perhaps a manner ("End with
an exclamation mark."), the gold answer, and whether worked steps are asked for, or the answer alone.
What takes more than one step is worked out unless the answer alone is asked for. Five splits
(lesson 6.4), of which no two share an instruction:
    train             known content, known wordings, known combinations
    validation        content kept aside, to watch a run
    new_items         content in no conversation that is trained on (replayed texts know no splits)
    new_wordings      new content, asked in wordings never trained on
    new_combinations  new content, a skill and a manner that were never trained on together
Used   sft/data.py, evaluate.py, and later parts.   See it: python demo_before_after.py
"""

import random
import zlib
from itertools import islice

import sft.skills_numbers  # noqa: F401  registers its skills, as the next two do
import sft.skills_stories  # noqa: F401
import sft.skills_words  # noqa: F401
from sft.skill_form import (
    ANSWER_MARK,
    HELD_OUT_WORDINGS,
    MANNERS,
    SKILLS,
    Draft,
    Item,
    Skill,
    final_answer,
    normalise,
)

SPLITS = ("train", "validation", "new_items", "new_wordings", "new_combinations")
TEST_SPLITS = ("new_items", "new_wordings", "new_combinations")
STEPS_ASKED = ("Think step by step. {}", "{} Think step by step.", "{} Show your steps.",
               "Step by step: {}", "{} Work it out step by step.")
DIRECT_ASKED = ("Answer at once: {}", "{} Just the answer.", "{} Answer at once.",
                "{} No steps, please.")
STEPS_SHARE, DIRECT_SHARE = 0.35, 0.2  # of the instructions that have steps and no manner;
HARDEST_DIRECT = 2  # the answer alone is not asked for where that takes several steps in the head
MANNER_SHARE = 0.15  # of the trained instructions
SYSTEM_SHARE = 0.5  # of those: the manner is asked for in the system line


def is_held_out(skill: str, manner: str) -> bool:
    """About a quarter of the (skill, manner) pairs is never trained on: every skill keeps some
    manners, and every manner some skills."""
    place = sorted(name for name, s in SKILLS.items() if s.manners).index(skill)
    return (place + list(MANNERS).index(manner)) % len(MANNERS) == 0


def manners_of(skill: Skill, split: str) -> list[str]:
    """The manners in which a split asks for a skill."""
    is_new = split == "new_combinations"
    return [manner for manner in skill.manners if is_held_out(skill.name, manner) == is_new]


def hash_of(text: str) -> int:
    """The same on every machine and in every process, unlike Python's own hash."""
    return zlib.crc32(text.encode())


def bucket(skill: Skill, key: str) -> str:
    """Which content this is: "train" (84%), "validation" (6%) or "held out" (10%).

    Decided by the hash of the key; where a skill has few contents, by the rank of its hash among
    them, so that no bucket is empty.
    """
    if skill.pool:
        ranked = sorted(skill.pool, key=lambda other: hash_of(f"{skill.name} {other}"))
        point = 100 * ranked.index(key) / len(ranked)
    else:
        point = hash_of(f"{skill.name} {key}") % 100
    return "held out" if point < 10 else "validation" if point < 16 else "train"


def check(item: Item, reply: str) -> bool:
    """True when the reply is right. The program decides, never a model."""
    own = SKILLS[item.skill].check
    if own is not None:
        return bool(own(item, reply))
    if (ANSWER_MARK in reply) != (item.asked == "steps") and item.asked:
        return False  # steps were asked for, or were not wanted
    return final_answer(reply) == normalise(item.final)


def phrase(skill: Skill, draft: Draft, wording: int, manner: str, asked: str,
           rng: random.Random) -> Item:
    """Put a draft into words -> an Item."""
    prompt, final, system = skill.wordings[wording].format(**draft.slots), draft.answer, ""
    if manner:
        ask, change = MANNERS[manner]
        final = change(final)
        if rng.random() < SYSTEM_SHARE:
            system = ask
        else:
            prompt = f"{prompt} {ask}"
    if asked:
        forms = STEPS_ASKED if asked == "steps" else DIRECT_ASKED
        prompt = rng.choice(forms).format(prompt)
    history = draft.history
    if draft.context and history:  # the text stands at the beginning of the conversation
        history = ((f"{draft.context}\n{history[0][0]}", history[0][1]), *history[1:])
    elif draft.context:
        prompt = f"{draft.context}\n{prompt}"
    answer = final
    if asked == "steps" or (draft.worked and draft.steps and not asked):
        answer = f"{draft.steps} {ANSWER_MARK}{final}" + ("" if final.endswith("!") else ".")
    return Item(skill.name, prompt, answer, final, draft.difficulty, wording, manner, asked,
                draft.key, system, history, draft.data)


def draw_item(skill: Skill, split: str, rng: random.Random) -> Item | None:
    """One item of a split, or None when the drawn content belongs to another split."""
    draft = skill.draw(rng)
    wanted = split if split in ("train", "validation") else "held out"
    if bucket(skill, draft.key) != wanted:
        return None
    if draft.later is not None:
        draft = draft.later()
    trained = len(skill.wordings) - HELD_OUT_WORDINGS
    wording = rng.randrange(trained)
    if split == "new_wordings":
        wording = trained + rng.randrange(HELD_OUT_WORDINGS)
    manner, manners = "", manners_of(skill, split)
    if manners and (split == "new_combinations" or rng.random() < MANNER_SHARE):
        manner = rng.choice(manners)
    asked, chance = "", rng.random()
    if draft.steps and not manner:
        if chance < STEPS_SHARE:
            asked = "steps"
        elif chance < STEPS_SHARE + DIRECT_SHARE and draft.difficulty <= HARDEST_DIRECT:
            asked = "direct"
    return phrase(skill, draft, wording, manner, asked, rng)


def names_of(split: str) -> list[str]:
    """The skills that a split asks about: new combinations need a manner that was held out."""
    return [name for name, skill in SKILLS.items()
            if split != "new_combinations" or manners_of(skill, split)]


def sample(seed: int, split: str = "train", skills: tuple[str, ...] | None = None,
           shares: dict[str, float] | None = None):
    """Items without end; the same for the same seed. All skills come equally often, but for those
    in `shares`: 0.5 is half as often.

    Raises ValueError for a split or a skill that does not exist.
    """
    if split not in SPLITS:
        raise ValueError(f"split={split!r}: choose from {', '.join(SPLITS)}")
    names = names_of(split) if skills is None else list(skills)
    unknown = [name for name in names if name not in names_of(split)]
    if unknown or not names:
        raise ValueError(f"skills {unknown or names}: in {split} choose from "
                         f"{', '.join(names_of(split))}")
    rng = random.Random(f"skills {split} {seed}")
    weights = [(shares or {}).get(name, 1.0) for name in names]
    while True:
        skill = SKILLS[rng.choices(names, weights)[0]]
        item = draw_item(skill, split, rng)
        while item is None:
            item = draw_item(skill, split, rng)
        yield item


def items(n: int, split: str = "train", seed: int = 0, skills=None, left_out=()) -> list[Item]:
    """A list of n items, no instruction twice where there are enough. Those of the skills in
    `left_out` are passed over."""
    chosen: dict[tuple, Item] = {}
    for tries, item in enumerate(sample(seed, split, skills)):
        if item.skill not in left_out:
            chosen.setdefault((item.system, item.history, item.prompt), item)
        if len(chosen) >= n or tries > 20 * n + 1000:
            return list(islice(chosen.values(), n))
