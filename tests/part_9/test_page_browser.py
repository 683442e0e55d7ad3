"""The page in a real browser: Chromium without a window, driven by picture_page.py's Browser."""

import json

import pytest
import torch
from gpt.model import GPT, GPTConfig
from moe.hybrid import HybridGPT
from moe.layer import MoEConfig
from picture_page import PICTURES, Browser, Serving, find_browser, shoot
from reasoning.tiny_chat import tiny_tokenizer
from reasoning.tool_use import tool_tokenizer
from reward.checkpoint import save_reward
from reward.model import RewardModel
from run.checkpoint import save_checkpoint
from text.tokenizer import Tokenizer

pytestmark = [pytest.mark.slow,
              pytest.mark.skipif(find_browser() is None, reason="no Chromium or Chrome is there")]
VIEWS = ("chat", "side", "tokens", "inside", "training", "truth")
IDLE = "[...document.querySelectorAll('.go')].every(b => b.textContent !== 'Stop')"


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """page.py with small models of random weights."""
    folder, tokenizer, paths = tmp_path_factory.mktemp("page"), tiny_tokenizer(), {}
    sizes = {"block_size": 320, "n_layer": 2, "n_head": 2, "n_embd": 32, "qk_norm": True}
    for seed, name in enumerate(("base", "sft", "ppo", "dpo", "grpo", "tools")):
        torch.manual_seed(seed)
        its = {"tools": tool_tokenizer(tokenizer), "base": Tokenizer.from_merges([])}.get(
            name, tokenizer)
        config = GPTConfig(vocab_size=its.vocab_size, **sizes)
        paths[name] = folder / f"{name}.pt"
        save_checkpoint(paths[name], weights=GPT(config).state_dict(), config=config,
                        tokenizer=its, step=0, settings={}, metrics={})
    body = GPT(GPTConfig(vocab_size=tokenizer.vocab_size, **sizes))
    paths["reward"], paths["moe"] = folder / "reward.pt", folder / "moe.pt"
    save_reward(paths["reward"], RewardModel(body), tokenizer, mean=0.0, std=1.0, settings={},
                metrics={})
    experts = HybridGPT(body.config, MoEConfig(n_expert=4))
    save_checkpoint(paths["moe"], weights=experts.state_dict(), config=experts.config,
                    tokenizer=tokenizer, step=0, settings={}, metrics={})
    paths["cold"] = paths["sft"]
    flags = [str(x) for name, path in paths.items() for x in (f"--{name}", path)]
    with Serving(*flags, "--values", str(folder / "none")) as address:
        yield address


@pytest.fixture(scope="module")
def page(address):
    with Browser(find_browser(), 1100, 900) as browser:
        yield browser


@pytest.fixture
def at(page, address):
    """at("chat?q=hello", width=390) -> the browser, there."""
    def at(where: str, width: int = 1100) -> Browser:
        page.resize(width, 900)
        page.open(f"{address}/#{where}")
        page.run("window.shifts = []; new PerformanceObserver(list => list.getEntries().forEach("
                 "e => e.sources.forEach(s => shifts.push(s.node))))"
                 ".observe({type: 'layout-shift'})")
        return page
    return at


def press_go(page, view: str, done: str = "true") -> None:
    place = view if view in ("chat", "side", "truth") else None
    page.run(f"document.querySelector('{f'#view-{place}' if place else '#subject'} .go').click()")
    page.wait(f"({done}) && {IDLE}", 60)


def text_of(page, query: str) -> str:
    return page.run(f"document.querySelector({json.dumps(query)}).textContent")


SHIFTED = "shifts.filter(node => !node?.parentElement?.closest('.log .strip')).length"
PLACES = """[...document.querySelectorAll('#view-chat :is(textarea, button, .log, .under)')]
  .filter(x => !x.closest('.log .strip, .quiet'))
  .map(x => JSON.stringify(x.getBoundingClientRect())).join()"""


STOPPED = """new Promise(done => { const go = document.querySelector('#view-chat .go');
  new MutationObserver((_, watch) => { if (log.querySelectorAll('.tok').length > 10) {
    watch.disconnect(); const seen = [go.textContent, """ + PLACES + """]; go.click(); done(seen); }
  }).observe(log, {childList: true, subtree: true}); go.click(); })"""


def test_a_reply_streams_without_anything_moving_and_stops_when_told(at):
    page = at("chat?q=hello&model=sft&temperature=1")
    places = page.run(PLACES)
    seen = page.run(STOPPED)
    assert seen == ["Stop", places], "tokens are there before the reply is whole"
    page.wait(IDLE)
    count = page.run("document.querySelectorAll('.log .tok').length")
    assert 10 < count < 240 and text_of(page, "#view-chat .status").startswith("stopped")
    page.wait("document.querySelector('.log .quiet')")
    assert page.run(PLACES) == places and page.run(SHIFTED) == 0, "words alone may wrap"


@pytest.mark.parametrize("view, done", [("side", ".cells .tok"), ("tokens", "#subject .tok")])
def test_nothing_moves_while_replies_stream_in_the_other_views(view, done, at):
    page = at(f"{view}?q=hello&model=sft&temperature=1&seeds=1+2&with=base&with=sft")
    place = "#view-side" if view == "side" else "#subject"
    page.run(f"document.querySelector('{place} .go').click()")
    page.wait(f"document.querySelectorAll('{done}').length > 2")
    page.run("shifts.length = 0")  # the cells have come, as they were asked for
    places = f"[...document.querySelectorAll('{place} :is(textarea, .card, .go), footer')]" \
             ".map(x => JSON.stringify(x.getBoundingClientRect())).join()"
    before = page.run(places)
    page.wait(f"document.querySelectorAll('{done}').length > 60 || {IDLE}")
    assert page.run(places) == before
    page.run(f"document.querySelector('{place}').querySelector('.go').click()")
    page.wait(IDLE)
    outside = "shifts.filter(node => !node?.parentElement?.closest('.strip')).length"
    assert page.run(places) == before and page.run(outside) == 0


def test_several_turns_are_kept_and_reset_forgets_them(at):
    page = at("chat?q=one&model=sft&longest=5")
    press_go(page, "chat", "document.querySelectorAll('.log .quiet').length == 1")
    page.run("document.querySelector('#view-chat textarea').value = 'two'")
    press_go(page, "chat", "document.querySelectorAll('.log .quiet').length == 2")
    assert page.run("turns.map(t => t.role).join()") == "user,assistant,user,assistant"
    page.run("document.querySelector('.reset').click()")
    assert page.run("turns.length") == 0 and text_of(page, ".log") == ""


def test_another_token_is_chosen_with_the_keyboard_alone_and_the_text_goes_on(at):
    page = at("chat?model=sft&longest=12")

    def tab_to(condition: str) -> None:
        for _ in range(60):
            if page.run(f"Boolean({condition})"):
                return
            page.press("Tab")
        raise AssertionError(f"no way with Tab to {condition}")
    tab_to("document.activeElement.name === 'q'")
    for letter in "hi":
        page.press(letter, letter)
    page.press("Enter")
    page.wait(f"document.querySelectorAll('.log .quiet').length == 1 && {IDLE}")
    before = page.run("turns[1].ids")
    tab_to("document.activeElement === document.body")
    tab_to("document.activeElement.classList.contains('tok')")
    page.press("Enter")
    page.press("ArrowRight")
    page.press("ArrowRight")
    page.wait("document.querySelectorAll('#view-chat .under .bars button').length == 10")
    page.press("ArrowDown")
    page.press("ArrowDown")
    chosen = page.run("turns[1].data.others[turns[1].data.first + 2].map(row => row[0])"
                      "[[...document.querySelectorAll('#view-chat .under .bars button')]"
                      ".indexOf(document.activeElement)]")
    page.press("Enter")
    page.wait(f"turns[1] && turns[1].ids[2] === {chosen} && turns[1].data && {IDLE}")
    after = page.run("turns[1].ids")
    assert after[:2] == before[:2] and after[2] == chosen != before[2] and len(after) > 3


def test_where_the_keyboard_stands_is_seen(at):
    page = at("inside?q=hello&model=sft&reply=well")
    press_go(page, "inside", "document.querySelector('.lens td')")
    seen = {}
    for _ in range(30):
        page.press("Tab")
        tag, style = page.run("(x => [x.tagName + ' ' + x.className, getComputedStyle(x).outline])"
                              "(document.activeElement)")
        seen[tag] = style
    assert {"SELECT ", "TEXTAREA ", "BUTTON main go", "DIV card wide"} <= set(seen), seen
    assert any(tag.startswith("SPAN tok") for tag in seen)
    rings = {tag: style for tag, style in seen.items() if not tag.startswith("BODY")}
    assert all("solid 3px" in style for style in rings.values()), rings


def test_a_tool_s_call_is_shown_as_the_model_s_and_the_answer_as_the_program_s(at):
    page = at("chat?model=tools")
    page.run("""(() => { const box = el('div', {class: 'strip', id: 'tried'}); log.append(box);
      const strip = new Strip(box, () => {});
      for (const text of [' ', '<|calc|>', ' 3', ' +', ' 4', '<|run|>', ' 7', '<|done|>', ' It'])
        strip.add(text); })()""")
    shown = page.run("[...document.querySelectorAll('#tried .tool')].map(x => [x.dataset.label, "
                     "x.textContent])")
    assert shown == [["the model calls the calculator", "<|calc|> 3 + 4<|run|>"],
                     ["the program answers", " 7<|done|>"]]
    assert text_of(page, "#tried").endswith("<|done|> It")


def test_side_by_side_asks_every_model_with_every_seed(at):
    page = at("side?q=hello&seeds=1+2&with=base&with=sft&with=ppo")
    press_go(page, "side", "document.querySelectorAll('.cells .card').length == 6")
    names = page.run("[...document.querySelectorAll('.cells h3')].map(x => x.textContent)")
    assert [name.split(",")[0] for name in names] == [
        f"{name} seed {seed}" for seed in (1, 2) for name in ("base", "sft", "ppo")]
    assert page.run("[...document.querySelectorAll('.cells .strip')].every(x => x.textContent)")


def test_attention_is_drawn_for_each_head_and_follows_the_chosen_token(at):
    page = at("inside?q=hello+there&model=sft&reply=well")
    press_go(page, "inside", "document.querySelectorAll('.heads canvas').length == 2")
    drawn = page.run("[...document.querySelectorAll('canvas')].map(c => { let n = 0; const d = "
                     "c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
                     "for (let i = 3; i < d.length; i += 4) n += d[i] > 0; return [n, c.width]; })")
    for count, width in drawn:
        triangle = width * (width + 1) / 2
        assert 0.5 * triangle < count <= triangle
    page.run("document.querySelectorAll('.heads button')[1].click()")
    page.run("document.querySelectorAll('#subject .tok')[9].click()")
    assert text_of(page, ".head-note").startswith("head 2 of layer 2, from ")
    depth = page.run("[...document.querySelectorAll('#subject .tok')].map(x => +x.style"
                     ".getPropertyValue('--s'))")
    weights = page.run("found.inside.attention[1][9]")
    assert depth[:10] == pytest.approx([w ** 0.5 for w in weights], abs=2e-3)
    assert not any(depth[10:])


def test_a_mixture_shows_its_experts_and_training_its_rows(at):
    page = at("inside?q=hello&model=moe")
    press_go(page, "inside", "document.querySelectorAll('.lens .asked').length == 2")
    page = at("training?q=hello&model=ppo&reply=well")
    press_go(page, "training", "document.querySelectorAll('.seen tbody tr').length == 6")
    assert "No value head is there" in text_of(page, "#more-training .sum")
    assert page.run("document.querySelectorAll('.group li').length") == 8


def test_the_truth_is_shown_beside_the_model_and_ends_where_the_world_does_not_follow(at):
    page = at("truth?model=base&kind=story&seed=4")
    page.run("document.querySelector('.draw').click()")
    page.wait(f"document.querySelector('#view-truth textarea').value && {IDLE}")
    press_go(page, "truth", "document.querySelectorAll('#view-truth .under ol').length >= 2")
    assert "the model needs" in text_of(page, "#view-truth .status")
    page.run("document.querySelector('#view-truth textarea').value = 'One bank morning'")
    press_go(page, "truth", "document.querySelector('.never')")
    assert "the world does not say this" in text_of(page, "#view-truth .status")


def test_an_address_fills_the_form_and_runs_nothing_until_enter_and_the_form_makes_it(at):
    page = at("tokens?q=%3Cb%3Ehello&model=dpo")
    assert page.run("subjectForm.elements.q.value") == "<b>hello"
    assert page.run("document.querySelectorAll('.tok').length") == 0
    page.press("Enter")
    page.wait(f"document.querySelectorAll('#subject .tok').length > 5 && {IDLE}")
    page.run("subjectForm.elements.q.value = 'x y'; dispatchEvent(new Event('input'))")
    assert page.run("location.hash").startswith("#tokens?model=dpo&q=x+y")


def test_text_is_never_markup(at):
    page = at("tokens?model=sft")
    page.run("window.harm = 0; subjectForm.elements.q.value = '<img src=x onerror=harm++>';"
             "subjectForm.elements.reply.value = '<script>harm++</' + 'script>'")
    press_go(page, "tokens", "document.querySelectorAll('#subject .tok').length > 20")
    assert "<script>harm++</script>" in text_of(page, "#subject .strip")
    assert page.run("harm + document.querySelectorAll('main img, main script').length") == 0


@pytest.mark.parametrize("view", VIEWS)
def test_on_a_phone_nothing_is_wider_than_the_screen_and_all_can_be_hit(view, at):
    page = at(f"{view}?q=hello&model=sft&longest=9&reply=well&text=One+cold+morning&seeds=1", 390)
    press_go(page, view, "document.querySelector('section:not([hidden]) .tok')")
    assert page.run("document.documentElement.scrollWidth") <= 390
    small = page.run("[...document.querySelectorAll('main button, nav a, input, select, summary')]"
                     ".map(x => x.type === 'checkbox' ? x.parentElement : x)"
                     ".filter(x => x.offsetParent && (x.offsetHeight < 40 || x.offsetWidth < 40))"
                     ".map(x => x.outerHTML)")
    assert small == []
    tiny = page.run("[...document.querySelectorAll('main input, main select, main textarea')]"
                    ".filter(x => parseFloat(getComputedStyle(x).fontSize) < 16)"
                    ".map(x => x.outerHTML)")
    assert tiny == [], "a phone zooms in on a field with smaller letters"


def test_on_a_phone_what_is_under_a_token_of_the_chat_is_in_sight_and_can_be_put_away(at):
    page = at("chat?q=hello&model=sft&temperature=1&longest=60", 390)
    press_go(page, "chat", "document.querySelector('.log .quiet')")
    page.run("scrollTo(0, 0); strips = [...document.querySelectorAll('.log .tok')]; strips[50].click()")
    seen = page.run("[document.querySelector('#view-chat .under'), strips[50]].map(x => {"
                    " const box = x.getBoundingClientRect(); return [box.top, box.bottom]; })")
    (top, bottom), (token_top, token_bottom) = seen
    assert 0 <= token_top < token_bottom <= top < bottom <= 900
    page.run("document.querySelector('#view-chat .close').click()")
    assert page.run("document.querySelector('#view-chat .under').offsetParent === null")
    page.run("""(() => { const box = strips[3].getBoundingClientRect(), log = strips[3].parentElement;
      log.dispatchEvent(new MouseEvent('click', {clientX: box.x + 3, clientY: box.bottom + 5})); })()""")
    assert page.run("strips[3].getAttribute('aria-pressed')") == "true", "a finger hits beside it"


def test_a_token_that_is_looked_at_is_scrolled_into_its_box(at):
    page = at("tokens?model=base&q=" + "we+" * 90, 390)
    press_go(page, "tokens", "document.querySelectorAll('#subject .tok').length > 80")
    for place in (100, 1):
        page.run(f"strip.pick({place})")
        token, box = page.run("[strip.tokens[strip.picked], strip.box].map(x => {"
                              " const b = x.getBoundingClientRect(); return [b.top, b.bottom]; })")
        assert box[0] <= token[0] < token[1] <= box[1]


def test_a_plain_text_goes_on_from_another_token(at):
    page = at("tokens?model=base&q=hello+there")
    press_go(page, "tokens", "document.querySelector('#subject .bars button')")
    before = page.run("found.tokens.ids")
    page.run("strip.pick(3)")
    chosen = page.run("found.tokens.others[3][4][0]")
    page.run("document.querySelectorAll('#subject .bars button')[4].click()")
    page.wait(f"found.tokens && {IDLE}")
    after = page.run("found.tokens.ids")
    assert after[:4] == [*before[:3], chosen] and len(after) > 4


def test_what_is_not_there_is_said(at, tmp_path):
    page = at("training?model=sft")
    page.run("chain.reward = false; chain.missing.reward = {make: 'python x.py'}; show('training')")
    assert "no reward model" in text_of(page, "#subject .status.bad")
    press_go(at("truth?model=base"), "truth")
    assert text_of(page, "#view-truth .status.bad") == "draw a text, or write one"
    names = ("base", "moe", "sft", "ppo", "dpo", "cold", "grpo", "tools", "reward", "values")
    with Serving(*(str(x) for name in names for x in (f"--{name}", tmp_path / "none.pt"))) as none:
        page.open(f"{none}/#tokens")
        page.wait("!document.querySelector('.none').hidden")
        assert "part_0/demo_pipeline.py" in text_of(page, ".none")
        assert page.run("[...document.querySelectorAll('.go')].every(x => x.disabled)")
        assert "none.pt" in text_of(page, "footer details")


CONTRAST = """(() => {
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const rgba = colour => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1); const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255]; };
  const over = (top, under) => top.slice(0, 3).map((x, i) => x * top[3] + under[i] * (1 - top[3]));
  const light = c => { const [r, g, b] = c.map(x => (x /= 255) <= .04045 ? x / 12.92 :
    ((x + .055) / 1.055) ** 2.4); return .2126 * r + .7152 * g + .0722 * b; };
  const low = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const node = walk.currentNode.parentElement;
    if (!walk.currentNode.textContent.trim() || !node.offsetParent || node.closest('script, style')
        || node.disabled) continue;
    const chain = []; for (let x = node; x; x = x.parentElement) chain.unshift(x);
    let ground = rgba(getComputedStyle(document.body).backgroundColor).slice(0, 3);
    for (const x of chain) ground = over(rgba(getComputedStyle(x).backgroundColor), ground);
    const ink = over(rgba(getComputedStyle(node).color), ground);
    const [a, b] = [light(ink), light(ground)].sort((x, y) => y - x), ratio = (a + .05) / (b + .05);
    if (ratio < 4.5) low.push([node.className, walk.currentNode.textContent, ratio]);
  }
  return low; })()"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_has_the_contrast_of_aa(scheme, at):
    for view in VIEWS:
        page = at(f"{view}?q=hello&model=sft&longest=9&reply=well&text=One+cold+morning&seeds=1")
        page.send("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": scheme}])
        assert page.run(f"matchMedia('(prefers-color-scheme: {scheme})').matches")
        press_go(page, view, "document.querySelector('section:not([hidden]) .tok')")
        page.run("document.querySelectorAll('.tok').forEach(x => x.style.setProperty('--s', 1))")
        assert page.run(CONTRAST) == [], view
    page.send("Emulation.setEmulatedMedia", features=[])


@pytest.mark.parametrize("file", PICTURES)
def test_a_picture_of_each_view_is_taken(file, page, address):
    page.resize(900, 800)
    picture = shoot(page, address, file)
    assert picture.startswith(b"\x89PNG") and 15_000 < len(picture)
