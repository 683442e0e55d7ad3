"""One reader of answers: what does a reply say in the end? Numbers are compared by value.

    "12 + 9 = 21. The answer is $21.00."    -> 21        a number, as an exact fraction
    "The answer is 41 or 42."               -> None      no single answer: right for nothing
    "The answer is 4 + 10 - 3."             -> "10 + 4 - 3"     a sum, in one order (countdown)
    "The answer is Paris."                  -> "paris"   a text: small letters, no marks around it

Where  behind the last mark: "The answer is", "Answer:", "####", \\boxed{…}; there the first sentence.
       Without a mark: the last sentence with a number. Of an equation, what follows its last "=".
Which  Numbers that only go with others do not count: "18 dollars for 3 days" is 18. If two that
       count differ in value, there is no answer. "not 18" and "more than 18" give none either.
Value  1,000 = 1 000 (thin or fixed blank) = 1000.0; 1/2 = 0.5; 1 1/2 = 1.5; −7 is below 0.
       Units are not converted, and percent is a unit, as dollars are: 50% is 50, never 1/2.
Used   reasoning/rewards.py, sampling.py, evaluation.py, tasks.py, train_tools.py: one rule for all
"""

import re
from fractions import Fraction

Answer = Fraction | str | None
MOST_DIGITS = 40  # a number of more signs is none: no model's reply may cost time, or an error
BLANK = "\u2009\u202f\u00a0"  # thin and fixed ones, which people write between thousands

MARK = re.compile(r"\banswer\b(?:\s+(?:to|for)\s[^.:=\n]{0,60}?)?\s*(?:\bis\b|:|=)\s*:?"
                  r"|(?<!#)####(?!#)|\\f?boxed\s*\{", re.IGNORECASE)
SENTENCE_END = re.compile(r"\n|(?<!approx)(?<!\bca)(?<!\bMr)(?<!\bMrs)(?<!\bDr)[.!?](?=\s|$)")
HEDGE = re.compile(r"\s*(?:or|no|wait|maybe|perhaps|actually|sorry|rather|correction)\b",
                   re.IGNORECASE)  # "It is 41. Or 42."
BARE = re.compile(r"\s*[-\d.,]{1,40}\W{0,10}$")  # "The answer is 41. 42."
# a run of signs that may be a number; `value_of` decides whether it is one
RUN = re.compile(rf"(?<![\w.])[-+]?\.?\d(?:[\d.,:/'’_{BLANK}]*\d)?(?:e[-+]?\d+)?", re.IGNORECASE)
PLAIN = re.compile(r"\d+|\d*\.\d+|[1-9]\d{0,2}(?P<by>[,'’_" + BLANK + r"])\d{3}(?:(?P=by)\d{3})*"
                   r"(?:\.\d+)?")
SUM = re.compile(r"\d{1,12}(?:\s*[-+]\s*\d{1,12})+")
SCALE = re.compile(r"\s*(hundred|thousand|million|billion|trillion)s?\b|(k)\b", re.IGNORECASE)
SCALES = {"hundred": 100, "k": 10**3, "thousand": 10**3, "million": 10**6, "billion": 10**9,
          "trillion": 10**12}
# the word before a number says that it goes with another one: "18 dollars for 3 days"
BESIDE = frozenset((
    "for", "in", "per", "of", "at", "after", "before", "with", "on", "each", "every", "by", "within",
    "during", "over", "until", "among", "across", "day", "week", "month", "year", "step", "question",
    "problem", "page"))
NEVER = frozenset(("not", "than", "least", "most"))  # "not 18", "more than 18", "at least 18"
FILLING = frozenset(("the", "a", "an", "about", "around", "roughly", "only", "just", "exactly", "all",
                     "another", "my"))
JOINED = re.compile(r"\s*(?:or|and|to|,|/|-|–)\s*", re.IGNORECASE)

SIGNS = str.maketrans({"−": "-", "﹣": "-", "－": "-", "×": "*", "÷": "/", "⁄": "/", "…": " "})
HALVES = {"½": "1/2", "⅓": "1/3", "⅔": "2/3", "¼": "1/4", "¾": "3/4", "⅕": "1/5", "⅛": "1/8"}
REWRITTEN = [(re.compile(pattern, re.IGNORECASE), new) for pattern, new in (
    (r"\*\*|__|`", ""),  # Markdown's marks
    (r"\\[dt]?frac\s*\{(\d{1,20})\}\s*\{(\d{1,20})\}", r" \1/\2 "), (r"\{,\}", ","),
    (r"\\(?:left|right|displaystyle)\b|\\[!,;: ]", ""), (r"\\(?:cdot|times)\b", "*"),
    (r"\^\s*\{?\\circ\}?|°", " degrees"),
    (r"\\(?:text|mathrm|textbf|mathbf)\s*\{([^{}]*)\}", r" \1 "),
    (r"\\([$%#])", r"\1"),
    (r"(?<!\d)(?:\b[A-Z]{1,3})?[$€£¥₹]\s*(?=[-+]?\.?\d)", ""), (r"[$€£¥₹]", " "),  # money
    (r"\b(?:minus|negative)\s+(?=\.?\d)", "-"),
    (r"(\d)\s*[x*]\s*10\s*\^\s*\{?([-+]?\d{1,3})\}?", r"\1e\2"),
    (r"(?<=\d)\s*/\s*(?=\d)", "/"),
    (r"\b(\d{1,20}) dollars? and (\d\d) cents\b", r"\1.\2 dollars"))]


# ---------------------------------------------------------------- where the answer stands

def is_marked(reply: str) -> bool:
    """Does the reply say which of its words are the answer?"""
    return MARK.search(rewritten(reply)) is not None


def rewritten(text: str) -> str:
    """The same in plain signs: without Markdown, LaTeX and signs of money."""
    text = text.translate(SIGNS)
    for sign, fraction in HALVES.items():
        text = text.replace(sign, f" {fraction} ")
    for pattern, new in REWRITTEN:
        text = pattern.sub(new, text)
    return text


def place_of(reply: str) -> tuple[str, str]:
    """-> (the sentence that holds the answer, what is said after it)."""
    text, mark = rewritten(reply), None
    for mark in MARK.finditer(text):
        pass  # the last one counts
    if mark is None:
        return last_with_number(text)
    if mark[0].endswith("{"):
        return inside_braces(text[mark.end():]), ""
    rest = text[mark.end():].lstrip()
    end = SENTENCE_END.search(rest)
    return (rest[:end.start()], rest[end.end():]) if end else (rest, "")


def working(reply: str) -> str:
    """What is said in front of the answer's mark; all of it where there is none."""
    text = rewritten(reply)
    marks = list(MARK.finditer(text))
    return text[:marks[-1].start()] if marks else text


def last_with_number(text: str) -> tuple[str, str]:
    """An unmarked reply: its last sentence with a number, or all of it where there is no number."""
    sentences = SENTENCE_END.split(text)
    for place in range(len(sentences) - 1, -1, -1):
        if re.search(r"\d", sentences[place]):
            if place and HEDGE.match(sentences[place]) and re.search(r"\d", sentences[place - 1]):
                return sentences[place - 1], sentences[place]  # "It is 41. Or 42."
            return sentences[place], ""
    return text, ""


def inside_braces(text: str) -> str:
    """"18 {a}} and more" -> "18 {a}"; "" where the brace is never closed: that was cut off."""
    depth = 1
    for place, sign in enumerate(text):
        depth += (sign == "{") - (sign == "}")
        if depth == 0:
            return text[:place]
    return ""


# ---------------------------------------------------------------- what it says

def read_answer(reply: str) -> Answer:
    """The answer of a reply: a number, a sum or a text; None: nothing, or no single one."""
    said, after = place_of(reply)
    chain = SUM.fullmatch(said.strip(" ()[]"))
    if chain:
        return in_order(chain[0])
    behind = said.rsplit("=", 1)[-1]
    if re.search(r"\d", behind) is None or re.search(r"\\[a-z]|[√π]", behind, re.IGNORECASE):
        return as_text(said) or None  # words, or a formula: √2 is not 2
    later = [part for part in SENTENCE_END.split(after) if HEDGE.match(part) or BARE.match(part)]
    return the_number(". ".join([behind, *later]))


def the_number(text: str) -> Fraction | None:
    """The one number of a text that does not only go with others; None where that is none or two."""
    text = re.sub(r"^\s*([-+])\s+(?=\.?\d)", r"\1", text)
    counted, beside, before, was_beside = set(), set(), 0, False
    for start, end, value in numbers_of(text):
        if value is None:
            return None  # 3:30, 1,5, 1/0, too long: looks like a number and has no clear value
        between = text[before:start]
        word = word_before(between)
        if word in NEVER:
            before = end
            continue
        was_beside = word in BESIDE or (was_beside and JOINED.fullmatch(between) is not None)
        (beside if was_beside else counted).add(value)
        before = end
    candidates = counted or beside  # "in 1990" has no other number
    return next(iter(candidates)) if len(candidates) == 1 else None


def numbers_of(text: str) -> list[tuple[int, int, Fraction | None]]:
    """Every number as (start, end, value): thousands, fractions, "1 1/2", "2 million"."""
    numbers: list = []
    for run in RUN.finditer(text):
        start, end, value = run.start(), run.end(), value_of(run[0])
        scale = SCALE.match(text, end)
        if scale and value is not None:
            value, end = value * SCALES[(scale[1] or scale[2]).lower()], scale.end()
        if numbers and value is not None and is_mixed(text[numbers[-1][0]:start], run[0], value):
            start, _, whole = numbers.pop()
            value = whole + (-value if text[start] == "-" else value)
        numbers.append((start, end, value))
    return numbers


def is_mixed(before: str, run: str, value: Fraction) -> bool:
    """"1 " and "1/2": a whole number, blanks, and a fraction below 1."""
    return re.fullmatch(r"[-+]?\d{1,12}\s+", before) is not None and value < 1 \
        and re.fullmatch(r"\d+/\d+", run) is not None


def value_of(run: str) -> Fraction | None:
    """"-1,200.50" -> -2401/2; "1/2" -> 1/2; None for what is no number: 1,5 or 3:30 or 1/0."""
    if len(run) > MOST_DIGITS:
        return None
    body, _, power = run.lstrip("+-").lower().partition("e")
    parts = body.split("/")
    if not all(PLAIN.fullmatch(part) for part in parts) or len(parts) > 2 or len(power) > 4:
        return None
    values = [Fraction(re.sub(rf"[,'’_{BLANK}]", "", part)) for part in parts]
    if len(values) == 2 and values[1] == 0:
        return None
    value = values[0] / values[1] if len(values) == 2 else values[0]
    return (-value if run[0] == "-" else value) * Fraction(10) ** int(power or 0)


def word_before(text: str) -> str:
    """The last word in front of a number, without words that only fill: "for the 3" -> "for"."""
    words = re.findall(r"[a-z']+|[,;]", text.lower())
    while words and words[-1] in FILLING:
        words.pop()
    return words[-1] if words else ""


def as_text(text: str) -> str:
    """An answer in words, to be compared: small letters, single blanks, no marks around it."""
    return re.sub(r"\s+", " ", text).strip(" .,;:!?*_'\"“”‘’()[]{}").casefold()


# ---------------------------------------------------------------- sums, as countdown asks for them

def in_order(chain: str) -> str:
    """The same sum in one order, so that equal sums are equal texts: "4+10 - 3" -> "10 + 4 - 3"."""
    terms = sorted(terms_of(chain), key=abs, reverse=True)
    return " + ".join(str(n) for n in terms if n >= 0) \
        + "".join(f" - {-n}" for n in terms if n < 0)


def read_sum(reply: str) -> str | None:
    """The sum that a reply gives as its answer, in one order; "10 + 4 = 14" counts where it holds."""
    said = place_of(reply)[0].strip(" ()[]")
    left, equals, right = said.partition("=")
    if not SUM.fullmatch(left.strip(" ()[]")):
        return None
    chain = in_order(left)
    return chain if not equals or the_number(right) == worth(chain) else None


def terms_of(chain: str) -> list[int]:
    """"10 + 4 - 3" -> [10, 4, -3]"""
    return [int(sign + n) for sign, n in re.findall(r"(-?)\s*(\d+)", chain)]


def worth(chain: str) -> int:
    return sum(terms_of(chain))


# ---------------------------------------------------------------- comparing

def is_same(gold: str, reply: str) -> bool:
    """Does the reply give this answer? Numbers by value; a text as it stands, but for its dress."""
    wanted = read_answer(gold)
    given = read_answer(reply)
    return given is not None and (given == wanted or (wanted is None and as_text(place_of(reply)[0])
                                                      == as_text(gold)))


def plain(value: Fraction) -> str:
    """The shortest exact way to write it: 18 -> "18", 1/2 -> "0.5", 1/3 -> "1/3"."""
    rest, places = value.denominator, 0
    for prime in (2, 5):
        count = 0
        while rest % prime == 0:
            rest, count = rest // prime, count + 1
        places = max(places, count)
    if rest != 1:
        return f"{value.numerator}/{value.denominator}"
    return decimal(value, places)


def decimal(value: Fraction, places: int) -> str:
    """The value rounded to so many decimals, in whole numbers all the way: no float errs here."""
    digits = str(abs(round(value * 10**places))).rjust(places + 1, "0")
    text = digits[:len(digits) - places] + "." + digits[len(digits) - places:]
    text = text.rstrip("0").rstrip(".")
    return "-" + text if value < 0 and text != "0" else text
