"""Two tools that a model may call: a calculator and a look-up in the little world.

Idea   The model writes  <|calc|> 12 + 9 + 30<|run|>  and stops there. The program reads the call,
       works it out, writes  51<|done|>  behind it, and the model goes on. The marks are special
       tokens: nobody can type them.
Safe   The calculator has a parser of its own, never `eval`: numbers, + - * / ^ and brackets, and
       nothing else. Long, deep and huge expressions are refused before they are worked out.
Used   reasoning/tool_use.py, reasoning/rewards.py, chat.py.   See it: python demo_tool_use.py

    expression = term (("+" | "-") term)*           term  = factor (("*" | "/") factor)*
    factor = "-" factor | power                     power = atom ("^" factor)?
    atom = number | "(" expression ")"
"""

import re
from fractions import Fraction

from world import facts as f

from reasoning.answers import decimal, plain

CALC, LOOK, RUN, DONE = TOOL_TOKENS = ("<|calc|>", "<|look|>", "<|run|>", "<|done|>")

LONGEST = 200       # characters of a call
DEEPEST = 20        # brackets, signs and powers inside one another
MOST_DIGITS = 12    # of a number that is written
LARGEST_POWER = 64  # exponents from -64 to 64
LARGEST_BITS = 256  # of any numerator or denominator on the way
MOST_PLACES = 20    # decimals of a result that is written in full

TOKEN = re.compile(r"\s*(?:(\d+(?:\.\d+)?|\.\d+)|(.))", re.DOTALL)


class Refused(ValueError):
    """A call that is not carried out. The text says why; the model is told "error"."""


def tokens_of(text: str) -> list[str]:
    """"3*(4 + 5)" -> ["3", "*", "(", "4", "+", "5", ")"]. Raises Refused for anything else."""
    if len(text) > LONGEST:
        raise Refused(f"an expression of {len(text)} characters; at most {LONGEST} are read")
    tokens = []
    for number, sign in TOKEN.findall(text.rstrip()):
        if number:
            if len(number) > MOST_DIGITS:
                raise Refused(f"the number {number[:15]}… has more than {MOST_DIGITS} digits")
            tokens.append(number)
        elif sign in "+-*/^()":
            tokens.append(sign)
        else:
            raise Refused(f"{sign!r} is no part of a sum; known are digits, + - * / ^ ( )")
    if not tokens:
        raise Refused("the expression is empty")
    return tokens


class Parser:
    """Reads tokens from left to right and works them out as it goes, exactly, in fractions."""

    def __init__(self, text: str):
        self.tokens = tokens_of(text)
        self.place = self.depth = 0

    def peek(self) -> str:
        return self.tokens[self.place] if self.place < len(self.tokens) else ""

    def take(self) -> str:
        self.place += 1
        return self.tokens[self.place - 1]

    def all(self) -> Fraction:
        value = self.expression()
        if self.peek():
            raise Refused(f"{self.peek()!r} stands where the expression should end")
        return value

    def expression(self) -> Fraction:
        value = self.term()
        while self.peek() in ("+", "-"):
            value = checked(value + self.term() if self.take() == "+" else value - self.term())
        return value

    def term(self) -> Fraction:
        value = self.factor()
        while self.peek() in ("*", "/"):
            if self.take() == "*":
                value = checked(value * self.factor())
                continue
            divisor = self.factor()
            if divisor == 0:
                raise Refused("a division by zero")
            value = checked(value / divisor)
        return value

    def factor(self) -> Fraction:
        self.depth += 1
        if self.depth > DEEPEST:
            raise Refused(f"brackets, signs and powers more than {DEEPEST} deep")
        if self.peek() == "-":
            self.take()
            value = -self.factor()
        else:
            value = self.power()
        self.depth -= 1
        return value

    def power(self) -> Fraction:
        base = self.atom()
        if self.peek() != "^":
            return base
        self.take()
        return raised(base, self.factor())

    def atom(self) -> Fraction:
        token = self.take() if self.peek() else "the end"
        if token == "(":
            value = self.expression()
            if self.peek() != ")":
                raise Refused("a bracket is not closed")
            self.take()
            return value
        if not token[-1].isdigit():
            raise Refused(f"{token!r} stands where a number should be")
        return Fraction(token)


def checked(value: Fraction) -> Fraction:
    """The value, if it is of a size that is worked with."""
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > LARGEST_BITS:
        raise Refused(f"a number of more than {LARGEST_BITS} bits on the way")
    return value


def raised(base: Fraction, exponent: Fraction) -> Fraction:
    """base ^ exponent; the size is known, and refused, before anything is multiplied."""
    if exponent.denominator != 1 or abs(exponent) > LARGEST_POWER:
        raise Refused(f"the power {exponent}: whole numbers up to {LARGEST_POWER} are taken")
    bits = max(base.numerator.bit_length(), base.denominator.bit_length())
    if bits * abs(exponent) > LARGEST_BITS:
        raise Refused(f"a power of about {bits * abs(exponent)} bits; at most {LARGEST_BITS}")
    if base == 0 and exponent < 0:
        raise Refused("a division by zero")
    return base ** int(exponent)


def calculate(text: str) -> Fraction:
    """The value of an expression, exactly. Raises Refused, and never hangs or runs anything."""
    return Parser(text).all()


def written(value: Fraction) -> str:
    """17 -> "17", 1/4 -> "0.25", 1/10000000 -> "0.0000001", 1/3 -> "0.333333".

    What ends is written to its end; what does not, or not within MOST_PLACES, to six decimals, and
    to more where those would say a whole number: 1/30000000 -> "0.0000000333333", never "0".
    """
    text = plain(value)
    if "/" not in text and len(text.partition(".")[2]) <= MOST_PLACES:
        return text
    places = 6
    while round(value * 10**places) % 10**places == 0:
        places += 1
    return decimal(value, places if places == 6 else places + 5)


# ---------------------------------------------------------------- the look-up

TABLES = {"capital": f.CAPITALS, "opposite": f.OPPOSITES, "young": f.YOUNG, "plural": f.PLURALS,
          "sound": f.SOUNDS, "home": f.HOMES, "colour": f.COLOURS}


def look_up(text: str) -> str:
    """"capital France" -> "Paris". Raises Refused for a table or an entry that is not there."""
    if len(text) > LONGEST:
        raise Refused(f"a question of {len(text)} characters; at most {LONGEST} are read")
    table, _, name = text.strip().partition(" ")
    if table not in TABLES:
        raise Refused(f"there is no table {table!r}; there are {', '.join(TABLES)}")
    if name not in TABLES[table]:
        raise Refused(f"the table {table!r} has no {name!r}")
    return TABLES[table][name]


def run_tool(mark: str, text: str) -> str:
    """What a call gives, as text; "error" where it is refused: the model reads on in any case."""
    try:
        return written(calculate(text)) if mark == CALC else look_up(text)
    except Refused:
        return "error"
