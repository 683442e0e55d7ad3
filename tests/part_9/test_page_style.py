"""The page's text and style: it names nothing outside, its lessons are there, it can be read."""

import http.client
import re
from contextlib import closing

import pytest
from page_models import PART, asked


def test_the_page_names_nothing_outside_and_writes_no_markup(server):
    status, text = asked(server, "/", method="GET")
    assert status == 200 and text == (PART / "page.html").read_text(encoding="utf-8")
    for word in ("://", "innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(",
                 "@import", "src=", "DOMParser", "setHTML"):
        assert word not in text, word
    port = server.server_address[1]
    with closing(http.client.HTTPConnection("127.0.0.1", port)) as line:
        line.request("GET", "/")
        policy = line.getresponse().headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "'unsafe" not in policy
    assert policy.count("'sha256-") == 2 and "frame-ancestors 'none'" in policy


def test_every_view_of_the_page_names_a_lesson_that_is_there(server):
    text = (PART / "page.html").read_text(encoding="utf-8")
    lessons = re.findall(r'"(part_\d/README\.md), ([\w. ]+)"', text)
    assert len(lessons) == 6 == len(set(re.findall(r'^  (\w+): \["', text, re.MULTILINE)))
    for file, section in lessons:
        lesson = (PART.parent / file).read_text(encoding="utf-8")
        assert f"\n## {section} " in lesson or f"\n## {section}\n" in lesson


STYLE = (PART / "page.html").read_text(encoding="utf-8").split("<style>")[1].split("</style>")[0]
TEXTS = {  # colour of a text: what it stands on. A tint is mixed into the card from none to whole
    "ink": ["bg", "card", "blue-tint", "warm-tint"], "soft": ["bg", "card"], "warm": ["bg", "card"],
    "blue": ["bg", "card"], "on-blue": ["blue"]}
SHAPES = {  # colour of a border, a bar, a ring: what it stands on
    "edge": ["bg", "card"], "warm": ["bg", "card"],
    "blue": ["bg", "card", "blue-tint", "warm-tint"]}


def colours(block: str) -> dict[str, str]:
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block))


def contrast(one: str, other: str) -> float:
    """WCAG 2.2: (L1 + 0.05) / (L2 + 0.05), the lighter one above."""
    def light(colour: str) -> float:
        parts = [int(colour[i:i + 2], 16) / 255 for i in (1, 3, 5)]
        red, green, blue = (x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4
                            for x in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue
    high, low = sorted((light(one), light(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_colour_of_a_text_and_of_a_shape_has_the_contrast_of_aa(scheme):
    assert contrast("#ffffff", "#000000") == pytest.approx(21)
    light, dark = re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)
    assert set(colours(light)) == set(colours(dark))
    known = colours(light if scheme == "light" else dark)
    low = [(one, ground, least) for pairs, least in ((TEXTS, 4.5), (SHAPES, 3.0))
           for one, grounds in pairs.items() for ground in grounds
           if contrast(known[one], known[ground]) < least]
    assert low == []


def test_every_colour_of_the_style_is_among_those_that_are_compared():
    rules = re.sub(r":root \{.*?\}", "", STYLE, flags=re.DOTALL)
    assert not re.search(r"#[0-9a-f]{3,8}\b|rgba?\(", rules), "a colour has a name, for both themes"
    assert set(re.findall(r"(?<![\w-])color: var\(--([\w-]+)", rules)) == set(TEXTS)
    grounds = {name for rule in re.findall(r"background: [^;}]+", rules)
               for name in re.findall(r"var\(--([\w-]+)", rule)} - {"s", "tint"}
    compared = {ground for pairs in (TEXTS, SHAPES) for row in pairs.values() for ground in row}
    assert grounds <= compared | {"warm"}, "warm: a bar, without text on it"
    lines = {name for rule in re.findall(r"(?:border|outline|box-shadow)[\w-]*: [^;}]+", rules)
             for name in re.findall(r"var\(--([\w-]+)", rule)}
    assert lines <= {*SHAPES, "line"}, "line parts cards from the page, and says nothing"
    assert re.search(r"::placeholder \{ color: var\(--soft\); opacity: 1", rules)
    script = (PART / "page.html").read_text(encoding="utf-8").split("<script>")[1]
    painted = ["#" + "".join(f"{int(x):02x}" for x in row.split(","))
               for row in re.findall(r"\[(\d+, \d+, \d+)\]", script)]
    blues = [colours(root)["blue"] for root in re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)]
    assert painted == blues[::-1], "heads are painted in the blue of the theme"
