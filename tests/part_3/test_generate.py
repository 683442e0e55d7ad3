"""Generation: batched equals one by one; stop tokens, streaming, limits, refusals."""

import pytest
import torch
from generate import generate, pad_left, stream
from model import GPT, GPTConfig
from sampling import generate as generate_uncached

PROMPTS = [[1, 2, 3], [4], [5, 6, 7, 8, 9, 10, 11, 12, 13], [4, 4]]


def make(seed=0, **settings):
    torch.manual_seed(seed)
    model = GPT(GPTConfig(vocab_size=40, block_size=32, n_layer=2, n_head=4, n_embd=32,
                          n_kv_head=2, **settings)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(5)
    return model


@torch.no_grad()
def greedy(model, prompt, count):
    """One token after the other, without a cache."""
    ids = list(prompt)
    for _ in range(count):
        ids.append(model(torch.tensor([ids]))[0][0, -1].argmax().item())
    return ids[len(prompt):]


@pytest.mark.parametrize("settings", [{}, {"window": 8}, {"window": 8, "sink": 2}])
def test_a_batch_gives_what_each_prompt_gives_alone_without_a_cache(settings):
    model = make(**settings)
    together = generate(model, PROMPTS, 20)
    assert together == [greedy(model, prompt, 20) for prompt in PROMPTS]
    assert together == generate(model, PROMPTS, 20, prefill_chunk=3)
    assert len({tuple(text) for text in together}) > 1


def test_a_row_ends_with_its_stop_token_and_the_others_go_on():
    model = make()
    free = generate(model, PROMPTS, 20)
    stop = (free[0][5], free[2][9])
    for text, whole in zip(generate(model, PROMPTS, 20, stop=stop), free):
        ends = [i for i, token in enumerate(whole) if token in stop]
        assert text == (whole[:ends[0] + 1] if ends else whole)


def test_rows_that_have_ended_are_computed_no_more():
    model = make()
    stop = (generate(model, PROMPTS, 20)[0][2],)
    sizes = []
    model.register_forward_hook(lambda module, args, out: sizes.append(len(args[0])))
    texts = generate(model, PROMPTS, 20, stop=stop)
    longest = max(len(text) for text in texts)
    assert sizes == [sum(len(text) > step for text in texts) for step in range(longest)]


def test_tokens_arrive_as_they_are_drawn():
    calls = []
    model = make()
    model.register_forward_hook(lambda module, args, out: calls.append(1))
    steps = stream(model, [[1], [2, 3]], 5)
    first = next(steps)
    assert [row for row, _ in first] == [0, 1] and len(calls) == 1
    assert len(list(steps)) == 4 and len(calls) == 5  # the last token is not read any more


def test_sampling_is_repeatable_and_follows_the_settings():
    model = make()
    def draw(seed, **settings):
        return generate(model, PROMPTS, 8, generator=torch.Generator().manual_seed(seed),
                        temperature=1.0, **settings)
    assert draw(1) == draw(1) != draw(2)
    assert draw(1, top_k=1) == generate(model, PROMPTS, 8) == draw(1, top_p=1e-9)


def test_one_sampled_row_equals_part_2s_uncached_loop():
    model = make()
    for settings in ({"temperature": 1.0}, {"temperature": 0.7, "top_k": 5, "top_p": 0.9}):
        a = generate(model, [[3, 1, 4]], 25, generator=torch.Generator().manual_seed(3), **settings)
        b = generate_uncached(model, [3, 1, 4], 25, **settings,
                              generator=torch.Generator().manual_seed(3))
        assert a[0] == list(b)


def test_with_restart_full_attention_goes_on_from_the_last_half():
    model = make()
    text = generate(model, [[1, 2, 3]], 60, restart=True)[0]
    assert len(text) == 60
    whole = [1, 2, 3, *text]
    assert whole[:33] == [1, 2, 3, *greedy(model, [1, 2, 3], 30)]
    assert whole[33:50] == greedy(model, whole[17:33], 17)  # after 33 tokens: the last 16 again


def test_the_last_token_may_fill_the_context_exactly():
    model = make()
    assert len(generate(model, [[1, 2]], 31)[0]) == 31  # 32 are read, the 33rd only drawn
    with pytest.raises(ValueError, match="block_size=32"):
        generate(model, [[1, 2]], 32)


def test_padding_goes_to_the_left():
    ids, start = pad_left([[5, 6], [7]], pad=9)
    assert ids.tolist() == [[5, 6], [9, 7]] and start.tolist() == [0, 1]


@pytest.mark.parametrize("prompts, settings, words", [
    ([], {}, "empty"), ([[1], []], {}, "prompt 1 is empty"), ([[1]], {"max_new": 0}, "max_new=0"),
    ([[1] * 33], {}, "33 tokens"), ([[1]], {"temperature": -1.0}, "temperature"),
    ([[1]], {"top_k": 0}, "top-k"), ([[1]], {"prefill_chunk": 0}, "prefill_chunk=0"),
    ([[77]], {}, "77")])
def test_nonsense_is_refused(prompts, settings, words):
    with pytest.raises(ValueError, match=words):
        generate(make(), prompts, **{"max_new": 3, **settings})
