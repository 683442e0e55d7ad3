"""How good is the model? Loss on whole held-out documents, the floor under it, cloze questions.

Math   bits per byte = (sum of -log p(token)) / (ln 2 * bytes of text)                 (eq. 4.14)
       floor         = (sum of -log p(text))  / (ln 2 * bytes), p that of the world    (eq. 4.5)
       Bits per byte do not depend on the tokenizer: models with different vocabularies compare.
Used   train.py, eval.py.
"""

import math
from dataclasses import dataclass
from os.path import commonprefix

import torch
from gpt.generate import generate
from run.runtime import Runtime
from text.data import TokenRows, mask_begin, pad_documents
from text.rows import IGNORED, segments
from text.tokenizer import Tokenizer
from torch.nn import functional as F
from world.world import World

LN2 = math.log(2)


@torch.no_grad()
def rows_loss(model, rows: TokenRows, runtime: Runtime, *, batches: int = 8, size: int = 16,
              by_document: bool = False) -> float:
    """Mean loss per token over the first rows of the data: quick, the same rows every time.

    `by_document`: attention stays inside a document, as it was trained.
    """
    was_training = model.training
    model.eval()
    total, count = 0.0, 0
    size = min(size, rows.epoch_rows)
    starts = range(0, min(batches * size, rows.epoch_rows - size + 1), size)
    for first in starts:
        tokens = torch.stack([torch.from_numpy(rows.packed_row(first + i)) for i in range(size)])
        ids = tokens[:, :-1].to(runtime.device)
        targets = mask_begin(tokens[:, 1:], rows.begin).to(runtime.device)
        with runtime.autocast():
            parts = segments(ids, rows.begin) if by_document else None
            _, loss = model(ids, targets, segments=parts, loss_only=True)
        labels = int((targets != IGNORED).sum())
        total, count = total + float(loss) * labels, count + labels
    model.train(was_training)
    return total / max(count, 1)


def padded(documents: list[list[int]], pad: int, context: int, step: int = 32):
    """`pad_documents` to a multiple of `step`: of products in few different shapes less is kept."""
    longest = max(map(len, documents)) - 1
    return pad_documents(documents, pad, min(-(-longest // step) * step, context))


@dataclass(frozen=True)
class DocumentsResult:
    """What `documents_loss` measured."""

    loss: float            # nats per token
    bits_per_byte: float
    tokens: int


@torch.no_grad()
def documents_loss(model, texts: list[str], tokenizer: Tokenizer, runtime: Runtime,
                   size: int = 32) -> DocumentsResult:
    """Loss of whole documents, each read from its own beginning, its end included.

    Every token counts once. A document longer than the context is read in pieces, and the later
    pieces do without what stood before them.
    """
    was_training = model.training
    model.eval()
    context = model.config.block_size
    encoded = [[tokenizer.begin, *ids, tokenizer.end] for ids in tokenizer.encode_batch(texts)]
    pieces = sorted((document[first:first + context + 1] for document in encoded
                     for first in range(0, len(document) - 1, context)), key=len)
    nats, tokens = 0.0, 0
    for first in range(0, len(pieces), size):
        ids, targets = padded(pieces[first:first + size], tokenizer.pad, context)
        with runtime.autocast():
            _, loss = model(ids.to(runtime.device), targets.to(runtime.device), loss_only=True)
        labels = int((targets != IGNORED).sum())
        nats, tokens = nats + float(loss) * labels, tokens + labels
    model.train(was_training)
    text_bytes = sum(len(text.encode()) for text in texts)
    return DocumentsResult(nats / tokens, nats / LN2 / text_bytes, tokens)


def world_documents(count: int, seed: int, split: str = "validation", kinds=None) -> list:
    """Held-out texts of the world with their log-probabilities. No training text is among them."""
    return World().texts(count, split=split, seed=seed, kinds=kinds)


def floor_bits_per_byte(texts: list) -> float:
    """The entropy of the source on these texts: the loss that no model can beat for long."""
    return sum(-text.logprob for text in texts) / LN2 / sum(len(t.text.encode()) for t in texts)


@torch.no_grad()
def cloze_accuracy(model, texts: list, tokenizer: Tokenizer,
                   runtime: Runtime) -> tuple[float | None, int]:
    """Share of questions about stories where the right answer is the likeliest -> (share, count).
    None where no question fits the context.

    Every question has wrong answers that stand in the same story ("Who has the bell now?").
    """
    right, questions = 0, 0
    for text in texts:
        asked = []  # (question number, is right, ids, how many of them are the answer)
        for number, (prefix, answer, distractors) in enumerate(text.cloze()):
            start = [tokenizer.begin, *tokenizer.encode(prefix)]
            candidates = [(True, answer), *((False, wrong) for wrong in distractors)]
            rows = [(is_right, tokenizer.encode(option)) for is_right, option in candidates]
            if max(len(start) + len(ids) for _, ids in rows) <= model.config.block_size + 1:
                asked += [(number, is_right, start + ids, len(ids)) for is_right, ids in rows]
        if not asked:
            continue
        scores = answer_scores(model, [(row[2], row[3]) for row in asked], tokenizer, runtime)
        best: dict[int, tuple[float, bool]] = {}
        for (question, is_right, _, _), score in zip(asked, scores):
            if question not in best or score > best[question][0]:
                best[question] = (score, is_right)
        right += sum(is_right for _, is_right in best.values())
        questions += len(best)
    return (right / questions if questions else None), questions


def answer_scores(model, rows: list[tuple[list[int], int]], tokenizer: Tokenizer,
                  runtime: Runtime) -> list[float]:
    """[(ids, length of the answer at their end)] -> log-probability of each answer.

    What all rows begin with, a story, is read once: into a cache, which then stands before each row.
    """
    shared = len(commonprefix([ids[:-1 - answer] for ids, answer in rows])) // 16 * 16
    ids, targets = padded([ids[shared:] for ids, _ in rows], tokenizer.pad,
                          model.config.block_size - shared, step=16)
    for row, (whole, answer) in enumerate(rows):
        targets[row, :len(whole) - shared - 1 - answer] = IGNORED
    is_answer, device = targets != IGNORED, runtime.device
    with runtime.autocast():
        cache = model.make_cache(1, shared + ids.size(1), rolling=False)
        if shared:
            model.features(torch.tensor([rows[0][0][:shared]], device=device), cache)
        cache.keys = [keys.repeat(len(rows), 1, 1, 1) for keys in cache.keys]
        cache.values = [values.repeat(len(rows), 1, 1, 1) for values in cache.values]
        features = model.features(ids.to(device), cache)
        logits = model.head(features[is_answer.to(device)])  # scores for the answers' tokens alone
    nats = F.cross_entropy(logits.float().cpu(), targets[is_answer], reduction="none")
    row = is_answer.nonzero()[:, 0]
    return (-torch.zeros(len(rows)).index_add(0, row, nats)).tolist()


def sample_text(model, tokenizer: Tokenizer, runtime: Runtime, prompt: str = "", *, count: int = 120,
                temperature: float = 0.8, seed: int = 0) -> str:
    """A document that the model writes: from `prompt` to its end, or `count` tokens."""
    was_training = model.training
    ids = [tokenizer.begin, *tokenizer.encode(prompt)]
    count = min(count, model.config.block_size + 1 - len(ids))
    with runtime.autocast():
        [written] = generate(model, [ids], count, temperature=temperature, stop=(tokenizer.end,),
                             generator=torch.Generator().manual_seed(seed))
    model.train(was_training)
    return prompt + tokenizer.decode([token for token in written if token != tokenizer.end])
