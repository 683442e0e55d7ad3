"""The figures themselves: bits per byte by hand, the floor, cloze questions."""

import math

import pytest
import torch
from base.measure import (
    answer_scores,
    cloze_accuracy,
    documents_loss,
    floor_bits_per_byte,
    padded,
    sample_text,
    world_documents,
)
from gpt.model import GPT, GPTConfig
from run.runtime import Runtime
from text.tokenizer import Tokenizer

FLOAT32 = Runtime(torch.device("cpu"), None, "", "")


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer.train(["the bell the box the bell the cat "] * 3, 262)


@pytest.fixture
def model(tokenizer):
    torch.manual_seed(0)
    return GPT(GPTConfig(vocab_size=tokenizer.vocab_size, block_size=16, n_layer=1, n_head=2,
                         n_embd=16)).eval()


def test_a_model_that_knows_nothing_has_log2_of_the_vocabulary_bits_per_token(model, tokenizer):
    with torch.no_grad():
        model.token_embedding.weight.zero_()  # all logits 0
    texts = ["the bell", "é", "the cat the box the bell the cat the box the bell " * 2]
    result = documents_loss(model, texts, tokenizer, FLOAT32)
    tokens = sum(len(tokenizer.encode(text)) + 1 for text in texts)  # and the end
    size = sum(len(text.encode()) for text in texts)
    assert result.tokens == tokens
    assert result.loss == pytest.approx(math.log(tokenizer.vocab_size), rel=1e-5)
    assert result.bits_per_byte == pytest.approx(
        math.log2(tokenizer.vocab_size) * tokens / size, rel=1e-5)


def test_documents_of_different_length_in_one_batch_do_not_change_each_other(model, tokenizer):
    texts = ["the bell", "the cat the box", "e"]
    one = [documents_loss(model, [text], tokenizer, FLOAT32) for text in texts]
    together = documents_loss(model, texts, tokenizer, FLOAT32)
    assert together.loss * together.tokens == pytest.approx(
        sum(r.loss * r.tokens for r in one), rel=1e-5)


def test_an_answers_score_is_the_log_probability_of_its_tokens_alone(model, tokenizer):
    ids = tokenizer.encode("the bell the box")
    [score, _] = answer_scores(model, [(ids, 3), (ids[:4], 1)], tokenizer, FLOAT32)
    logs = model(torch.tensor([ids[:-1]]))[0].log_softmax(-1)[0].detach()
    wanted = sum(float(logs[place - 1, ids[place]]) for place in range(len(ids) - 3, len(ids)))
    assert score == pytest.approx(wanted, rel=1e-4)


def test_only_an_answers_tokens_get_scores_for_the_whole_vocabulary(model, tokenizer):
    """Scores for all tokens of a question would be memory for nothing."""
    seen = []
    hook = model.head.register_forward_hook(
        lambda _, inputs, output: seen.append(output.shape[:-1].numel()))
    ids = tokenizer.encode("the bell the box")
    answer_scores(model, [(ids, 3), (ids[:4], 1)], tokenizer, FLOAT32)
    hook.remove()
    assert seen == [4]


@pytest.mark.parametrize("window", [None, 24])
@pytest.mark.parametrize("story", [0, 15, 16, 40])
def test_a_story_is_read_once_and_answers_score_as_if_read_alone(tokenizer, story, window):
    torch.manual_seed(0)
    model = GPT(GPTConfig(vocab_size=tokenizer.vocab_size, block_size=64, n_layer=2, n_head=2,
                          n_embd=16, window=window)).eval()
    ids = torch.randint(0, tokenizer.vocab_size, (story + 40,)).tolist()
    rows = [(ids[:story] + ids[first:first + length], answer)
            for first, length, answer in ((story, 20, 3), (story + 5, 9, 4), (story, 20, 1),
                                          (story + 9, 24, 23))]
    tokens = []
    hook = model.token_embedding.register_forward_hook(
        lambda _, inputs, output: tokens.append(inputs[0].numel()))
    scores = answer_scores(model, rows, tokenizer, FLOAT32)
    hook.remove()
    for (row, answer), score in zip(rows, scores, strict=True):
        logs = model(torch.tensor([row[:-1]]))[0].log_softmax(-1)[0].detach()
        places = range(len(row) - answer, len(row))
        wanted = sum(float(logs[place - 1, row[place]]) for place in places)
        assert score == pytest.approx(wanted, rel=1e-4)
    read = story // 16 * 16  # in steps of 16: few different shapes
    longest = max(len(row) for row, _ in rows) - 1 - read
    assert sum(tokens) == read + len(rows) * -(-longest // 16) * 16


def test_a_question_without_room_is_left_out_and_its_story_goes_on(tokenizer):
    class Long:
        def cloze(self):
            return [("the bell the box " * 9, " bell", [" cat"]), ("the", " bell", [" bell bell"])]

    model = GPT(GPTConfig(vocab_size=tokenizer.vocab_size, block_size=16, n_layer=1, n_head=2,
                          n_embd=16))
    assert cloze_accuracy(model.eval(), [Long(), Long()], tokenizer, FLOAT32) == (1.0, 2)
    assert cloze_accuracy(model.eval(), [], tokenizer, FLOAT32) == (None, 0)


@pytest.mark.parametrize("length, width", [(5, 32), (33, 32), (34, 64), (64, 64), (101, 100)])
def test_texts_are_padded_to_a_multiple_of_32_but_not_beyond_the_context(length, width):
    ids, targets = padded([[1] * length], 0, 100)
    assert ids.shape == targets.shape == (1, width) and int(ids.sum()) == min(length, width)


class Story:
    """Stands in for a text of the world: one question, one right answer, two wrong ones."""

    def cloze(self):
        return [("who", " bell", [" box", " cat"])]


@pytest.mark.parametrize("liked, share", [(" bell", 1.0), (" cat", 0.0)])
def test_the_likeliest_answer_is_the_models_answer(model, tokenizer, monkeypatch, liked, share):
    wanted = tokenizer.encode(liked)

    def scores(model, rows, *rest):
        return [0.0 if ids[-count:] == wanted else -5.0 for ids, count in rows]
    monkeypatch.setattr("base.measure.answer_scores", scores)
    assert cloze_accuracy(model, [Story()] * 3, tokenizer, FLOAT32) == (share, 3)


def test_the_floor_is_the_worlds_own_log_probability_per_byte():
    texts = world_documents(5, seed=3)
    bits = sum(-text.logprob for text in texts) / math.log(2)
    assert floor_bits_per_byte(texts) == pytest.approx(
        bits / sum(len(text.text.encode()) for text in texts))
    assert [text.text for text in texts] == [text.text for text in world_documents(5, seed=3)]


def test_a_sample_starts_with_its_prompt_and_is_the_same_for_the_same_seed(model, tokenizer):
    model.train()
    one, two = (sample_text(model, tokenizer, FLOAT32, "the", count=9, seed=4) for _ in range(2))
    assert one == two and one.startswith("the") and model.training


def test_the_floor_is_a_ratio_of_sums_not_a_mean_of_ratios():
    """A mean over texts counts a short text as much as a long one; no model's loss is that."""
    texts = world_documents(300, seed=3)
    nats = [-text.logprob / math.log(2) for text in texts]
    sizes = [len(text.text.encode()) for text in texts]
    floor = floor_bits_per_byte(texts)
    assert floor == pytest.approx(sum(nats) / sum(sizes))
    mean = sum(n / size for n, size in zip(nats, sizes)) / len(texts)
    assert mean > 1.2 * floor    # 0.28 against 0.21: a good model would be below its own floor
