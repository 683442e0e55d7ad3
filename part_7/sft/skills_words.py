"""Skills with words and facts: letters, spelling, opposites, kinds, days, plurals, capitals.

Rule   a gold answer is as short as it can be; a worked one ends in "The answer is …". Twelve
       wordings each, of which the last two are never trained on (sft/skills.py).
Used   sft/skills.py
"""

from world import facts as f

from sft.skill_form import MANNERS, NUMBER_MANNERS, Draft, skill

# ---- words and their letters ------------------------------------------------------------------


@skill("backwards", """
    Spell {x} backwards.
    Spell the word {x} backwards.
    What are the letters of {x} backwards?
    Write the letters of {x} backwards.
    Give me the letters of {x} from the last to the first.
    Please spell {x} backwards.
    How do you spell {x} backwards?
    Spell the word {x} from the last letter to the first.
    Tell me the letters of {x} backwards.
    Begin with the last letter and spell {x}.
    Please spell the word {x} backwards.
    How is {x} spelled backwards?
    """, manners=MANNERS)
def backwards(rng):
    word = rng.choice(f.SPELLING)  # letters, not a word: "drow" would be tokens never seen together
    return Draft({"x": word}, word.spelled_back, word, min(3, len(word) - 2),
                 f"{word} is {word.spelled}.", worked=True)


@skill("capital letters", """
    Write {x} in capital letters.
    Write the word {x} in capital letters.
    Put {x} into capital letters.
    What is {x} in capital letters?
    Change {x} to capital letters.
    Please write the word {x} with capital letters.
    Make all letters of {x} capital.
    Turn {x} into capital letters.
    How do you write {x} in capital letters?
    Spell {x} in capital letters.
    Please put the word {x} into capital letters.
    Tell me what {x} is in capital letters.
    """, manners=NUMBER_MANNERS)
def capital_letters(rng):
    word = rng.choice(f.SPELLING)
    return Draft({"x": word}, word.upper, word, min(3, len(word) - 2))


@skill("counting letters", """
    How many letters are in {x}?
    How many letters does {x} have?
    Count the letters of {x}.
    Count the letters in the word {x}.
    How long is the word {x}, in letters?
    What is the number of letters in {x}?
    Please count the letters of the word {x}.
    Tell me how many letters {x} has.
    The word {x} has how many letters?
    Give me the number of letters in {x}.
    How many letters are in the word {x}?
    Please tell me the number of letters of {x}.
    """, manners=NUMBER_MANNERS)
def counting_letters(rng):
    word = rng.choice(f.SPELLING)
    return Draft({"x": word}, word.length, word, min(3, len(word) - 2),
                 f"{word} is {word.spelled}.", worked=True)


@skill("first or last letter", """
    What is the {end} letter of {x}?
    Which letter is the {end} one in {x}?
    Name the {end} letter of {x}.
    Give me the {end} letter of the word {x}.
    Which is the {end} letter of {x}?
    Tell me the {end} letter of {x}.
    Look at the word {x}. Which letter is {end}?
    Find the {end} letter in {x}.
    The word is {x}. What is its {end} letter?
    Write the {end} letter of the word {x}.
    Please tell me the {end} letter of the word {x}.
    Which letter of {x} is the {end} one?
    """, manners=MANNERS)
def end_letter(rng):
    word, end = rng.choice(f.SPELLING), rng.choice(("first", "last"))
    return Draft({"x": word, "end": end}, word.first if end == "first" else word.last,
                 f"{end} {word}")


# ---- facts ------------------------------------------------------------------------------------

@skill("opposites", """
    What is the opposite of {x}?
    Name the opposite of {x}.
    Give me the opposite of {x}.
    What word is the opposite of {x}?
    Which word is the opposite of {x}?
    Say the opposite of the word {x}.
    Please find the opposite of {x}.
    Find the opposite of {x}.
    The opposite of {x} is what?
    If it is not {x}, what is it?
    Tell me the opposite of the word {x}.
    Please name the opposite of {x}.
    """, manners=NUMBER_MANNERS, pool=f.OPPOSITES)
def opposites(rng):
    word = rng.choice(tuple(f.OPPOSITES))
    return Draft({"x": word}, f.OPPOSITES[word], word)


# The words that belong to one kind only: "orange" as a fruit and a colour would have two answers.
MEMBERS = tuple(word for word in f.MEMBERS if f.MEMBERS.count(word) == 1)


@skill("kinds", """
    What kind of thing is {x}?
    What is {x}?
    {X} is a kind of what?
    Can you tell me what kind of thing {x} is?
    Name the kind of thing that {x} is.
    What sort of thing is {x}?
    Tell me what kind of thing {x} is.
    Tell me what {x} is.
    Please say what {x} is.
    What do you call the kind of thing that {x} is?
    Please tell me what kind of thing {x} is.
    Say what sort of thing {x} is.
    """, manners=MANNERS, pool=MEMBERS)
def kinds(rng):
    word = rng.choice(MEMBERS)
    return Draft({"x": word.one, "X": word.One}, word.kind, word)


@skill("days and months", """
    Which {what} comes {side} {x}?
    What {what} comes {side} {x}?
    Which {what} is {side} {x}?
    Name the {what} {side} {x}.
    What is the {what} {side} {x}?
    Tell me the {what} that comes {side} {x}.
    Say which {what} comes {side} {x}.
    Give me the {what} {side} {x}.
    The {what} {side} {x} is what?
    What comes {side} {x}?
    Please name the {what} that comes {side} {x}.
    Tell me which {what} is {side} {x}.
    """, manners=MANNERS, pool=f.DATES)
def dates(rng):
    date, side = rng.choice(f.DATES), rng.choice(("before", "after"))
    return Draft({"x": date, "what": date.what, "side": side},
                 date.next if side == "after" else date.before, date)


@skill("plurals", """
    What is the plural of {x}?
    One {x}, two what?
    Name the plural of {x}.
    Write {x} for more than one.
    What do you call more than one {x}?
    Give me the plural of {x}.
    More than one {x} is what?
    Make the word {x} plural.
    Tell me the plural of {x}.
    I have one {x}, and you have two what?
    Please tell me the plural of the word {x}.
    Please write the plural of {x}.
    """, manners=NUMBER_MANNERS, pool=f.PLURALS)
def plurals(rng):
    word = rng.choice(tuple(f.PLURALS))
    return Draft({"x": word}, f.PLURALS[word], word)


@skill("capital cities", """
    What is the capital of {x}?
    Name the capital of {x}.
    Which city is the capital of {x}?
    Tell me the capital of {x}.
    Find the capital of {x}.
    Give me the capital city of {x}.
    What is the capital city of {x}?
    The capital of {x} is what?
    What city is the capital of {x}?
    Say the capital of {x}.
    Please tell me the capital city of {x}.
    Please name the capital of {x}.
    """, manners=NUMBER_MANNERS, pool=f.CAPITALS)
def capital_cities(rng):
    country = rng.choice(tuple(f.CAPITALS))
    return Draft({"x": country}, f.CAPITALS[country], country)


@skill("young animals", """
    What is a young {x} called?
    What do you call a young {x}?
    Name the young of {x.a}.
    What word do you use for a young {x}?
    Tell me what a young {x} is called.
    A young {x} is called what?
    Give me the word for a young {x}.
    Say what a young {x} is called.
    What is the word for a young {x}?
    Which word means a young {x}?
    Please tell me the word for a young {x}.
    Please say what you call a young {x}.
    """, manners=NUMBER_MANNERS, pool=f.YOUNG)
def young_animals(rng):
    word = rng.choice(YOUNG)
    return Draft({"x": word}, word.other, word)


YOUNG = f.table(f.YOUNG)
