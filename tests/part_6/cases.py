"""Tiny worked cases of part 6 for the practice; tests/worked_cases.py says what a case is."""

import torch
from worked_cases import case, filled, wave

NAMES = {"<|system|>": 4, "<|user|>": 5, "<|assistant|>": 6}


class Letters:
    """A tokenizer for which every letter is a token, its code; begin 1, end 2."""

    begin, end, pad, chat, problem, special = 1, 2, 0, None, "", NAMES

    def id_of(self, name):
        return NAMES[name]

    def encode(self, text, allowed=()):
        return [ord(letter) for letter in text]

    def decode(self, ids):
        return "".join(chr(i) for i in ids)


def talk(load, *turns):
    """"u:Hi", "a:Yo" -> messages; "x:…" is an answer that is not to be learnt."""
    form = load("sft.chat_format")
    roles = {"s": "system", "u": "user", "a": "assistant", "x": "assistant"}
    return form, [form.Message(roles.get(turn[0], turn[0]), turn[2:], turn[0] != "x")
                  for turn in turns]


@case("6.1", "the turns user 'Hi' and assistant 'Yo' as tokens (letters by their code)")
def turns(load):
    form, messages = talk(load, "u:Hi", "a:Yo")
    return [form.encode_turn(message, Letters()) for message in messages]


@case("6.1", "the conversation user 'Hi', assistant 'Yo': the ids")
def conversation(load):
    form, messages = talk(load, "u:Hi", "a:Yo")
    return form.encode_conversation(messages, Letters())[0]


@case("6.1", "the same: what is a label")
def labels(load):
    form, messages = talk(load, "u:Hi", "a:Yo")
    return [int(x) for x in form.encode_conversation(messages, Letters())[1]]


@case("6.1", "two rounds, of which the first answer is not to be learnt: the labels")
def second_alone(load):
    form, messages = talk(load, "s:S", "u:H", "x:Y", "u:K", "a:Z")
    return [int(x) for x in form.encode_conversation(messages, Letters())[1]]


@case("6.1", "the prompt system 'S', user 'Hi'")
def prompt(load):
    form, messages = talk(load, "s:S", "u:Hi")
    return form.encode_prompt(messages, Letters())


@case("6.1", "the reply ' Yo', end, 'x'; and ' Yo' without an end")
def replies(load):
    form = load("sft.chat_format")
    return [form.decode_reply([32, 89, 111, *rest], Letters()) for rest in ([2, 120], [])]


def verdicts(load, lists, answered):
    found = []
    for turns in lists:
        form, messages = talk(load, *turns)
        try:
            form.check_messages(messages, answered=answered)
            found.append("fine")
        except ValueError:
            found.append("refused")
    return found


@case("6.1", "ua, sua, a, uu, us, u, ua with a blank text, ub: which conversations are refused")
def refused(load):
    return verdicts(load, [("u:H", "a:Y"), ("s:S", "u:H", "a:Y"), ("a:Y",), ("u:H", "u:H"),
                           ("u:H", "s:S"), ("u:H",), ("u:H", "a: "), ("u:H", "b:Y")], True)


@case("6.1", "u, su, ua, s, uau as prompts: which are refused")
def refused_prompts(load):
    return verdicts(load, [("u:H",), ("s:S", "u:H"), ("u:H", "a:Y"), ("s:S",),
                           ("u:H", "a:Y", "u:K")], False)


def small_gpt(load, **what):
    model = load("gpt.model")
    return filled(model.GPT(model.GPTConfig(**{"vocab_size": 6, "block_size": 8, "n_layer": 1,
                                               "n_head": 2, "n_embd": 4} | what)), 0.5)


@case("6.1b", "a model of 6 tokens with 2 more: are the first rows as they were?")
def old_rows(load):
    old = small_gpt(load)
    new = load("sft.chat_format").grow_vocabulary(old, 8)
    return (new.token_embedding.weight[:6] - old.token_embedding.weight).abs().max()


@case("6.1b", "500 new rows: their mean against that of the old ones, and their spread over theirs")
def new_rows(load):
    old = small_gpt(load)
    new = load("sft.chat_format").grow_vocabulary(old, 506).token_embedding.weight
    rows, before = new[6:], old.token_embedding.weight
    return [round(10 * float((rows.mean(0) - before.mean(0)).abs().max())),
            round(50 * float(rows.std(0).mean() / before.std(0).mean())) / 50]


@case("6.1b", "head and embedding where they are tied, and where not: are they equal?")
def tied(load):
    grow = load("sft.chat_format").grow_vocabulary
    return [bool(torch.equal(m.head.weight, m.token_embedding.weight)) for m in (
        grow(small_gpt(load), 8), grow(small_gpt(load, tied=False), 8))]


@case("6.1b", "the sizes of both where they are not tied; the model's mode")
def sizes(load):
    new = load("sft.chat_format").grow_vocabulary(small_gpt(load, tied=False).train(), 8)
    return [len(new.head.weight), len(new.token_embedding.weight), new.training,
            new.config.vocab_size]


@case("6.1b", "fewer tokens than there are: refused")
def fewer(load):
    return load("sft.chat_format").grow_vocabulary(small_gpt(load), 5)


class Growing(Letters):
    def __init__(self, special, chat=None, problem=""):
        self.special, self.chat, self.problem = special, chat, problem

    def with_special(self, *names):
        return sorted(names)


@case("6.1b", "a tokenizer that has <|user|>: what is added")
def added(load):
    return load("sft.chat_format").chat_tokenizer(Growing({"<|user|>": 5}))


@case("6.1b", "a tokenizer that has all, or a form of its own: is it the same one?")
def nothing_added(load):
    add = load("sft.chat_format").chat_tokenizer
    one, other = Growing(NAMES), Growing({}, chat="form")
    return [add(one) is one, add(other) is other]


@case("6.1b", "a tokenizer with a problem: refused")
def problem(load):
    return load("sft.chat_format").chat_tokenizer(Growing({}, problem="unknown template"))


def examples(load, *pairs):
    data = load("sft.data")
    return data, [data.Example(tuple(ids), tuple(map(bool, labels)), hard)
                  for ids, labels, hard in pairs]


ONE = ([1, 7, 8, 9, 2], [0, 0, 0, 1, 1], 1)
TWO = ([1, 5, 2], [0, 1, 1], 3)
THREE = ([1, 6, 7, 3, 4, 5, 2], [0, 0, 0, 0, 1, 1, 1], 2)


@case("6.2", "the example 1 7 8 9 2, whose last two are labels: ids and targets")
def one_example(load):
    data, made = examples(load, ONE)
    return data.pad_batch(made, 0)


@case("6.2", "two examples of different length, padded with 2")
def two_padded(load):
    data, made = examples(load, ONE, TWO)
    return data.pad_batch(made, 2)


@case("6.2", "two examples in one row of 8")
def one_row(load):
    data, made = examples(load, ONE, TWO)
    return data.to_tensors([made], 0, 8)


@case("6.2", "which document each of 1 7 1 5 0 belongs to, begin 1")
def documents(load):
    return load("text.rows").segments(torch.tensor([[1, 7, 1, 5, 0], [6, 1, 1, 5, 0]]), 1)


@case("6.2", "the rows 5 6 and 7 padded with 9, and to a width of 3")
def padded(load):
    return [load("text.rows").pad_rows([[5, 6], [7]], 9, width) for width in (None, 3)]


def short(load, context, *turns):
    data, (_, messages) = load("sft.data"), talk(load, *turns)
    kept = data.shortened(messages, Letters(), context)
    return None if kept is None else [f"{m.role[0]}:{m.content}" for m in kept]


@case("6.2b", "system S, question ABCDEF, answer Y with room for 10 and for 13 tokens")
def question_cut(load):
    return [short(load, n, "s:S", "u:ABCDEF", "a:Y") for n in (10, 13)]


@case("6.2b", "two rounds after a system line, with room for one")
def oldest_gone(load):
    return short(load, 14, "s:S", "u:AB", "a:Y", "u:CD", "a:Z")


@case("6.2b", "no room for the question, and none for the answer")
def no_room(load):
    return [short(load, n, "u:ABC", "a:YYYY") for n in (9, 5)]


@case("6.2b", "an example that fits, one that is cut, one that is left out")
def three_ways(load):
    data, found = load("sft.data"), []
    for n in (20, 10, 4):
        _, messages = talk(load, "u:ABCDEF", "a:Y")
        example, what = data.encode_example(messages, Letters(), n, 2)
        found.append([what, None if example is None else [list(example.ids), example.difficulty]])
    return found


def sized(load, sizes, context, chunk=256):
    data = load("sft.data")
    made = [data.Example(tuple(range(n + 1)), (True,) * (n + 1), number)
            for number, n in enumerate(sizes)]
    return sorted([[e.read for e in row] for row in data.pack(made, context, chunk)])


@case("6.2b", "examples that read 5, 2, 4, 3, 1 tokens in rows of 7")
def packed(load):
    return sized(load, [5, 2, 4, 3, 1], 7)


@case("6.2b", "the same, two examples at a time")
def packed_by_two(load):
    return sized(load, [5, 2, 4, 3, 1], 7, 2)


@case("6.2b", "an example that reads 8 in rows of 7: refused")
def too_long(load):
    return sized(load, [8], 7)


@case("6.2b", "rows of twelve chunks: do the long ones always come first?")
def shuffled_rows(load):
    data = load("sft.data")
    made = [data.Example(tuple(range(n + 1)), (True,) * (n + 1)) for n in (6, 5, 4) * 12]
    rows = data.pack(made, 6, 3)
    return all(rows[i][0].read == 6 for i in range(0, 36, 3))


def order_of(load, order, seed=0):
    _, made = examples(load, *[(ids, labels, hard) for (ids, labels, _), hard in zip(
        [ONE, TWO, THREE, ONE, TWO, THREE], [2, 1, 3, 1, 2, 3])])
    return load("sft.curriculum").ordered(made, order, seed)


@case("6.3", "six examples of difficulty 2 1 3 1 2 3: the easy ones first")
def easy_first(load):
    return [e.difficulty for e in order_of(load, "by_difficulty")]


@case("6.3", "the hard ones first")
def hard_first(load):
    return [e.difficulty for e in order_of(load, "anti")]


@case("6.3", "the short ones first: lengths")
def short_first(load):
    return [len(e.ids) for e in order_of(load, "by_length")]


@case("6.3", "mixed, for two seeds: difficulties")
def mixed(load):
    return [[e.difficulty for e in order_of(load, "mixed", seed)] for seed in (0, 1)]


@case("6.3", "how ties are broken: lengths of the easy ones first, for two seeds")
def ties(load):
    return [[len(e.ids) for e in order_of(load, "by_difficulty", seed)] for seed in (0, 1)]


@case("6.3", "the order 'sideways': refused")
def unknown(load):
    return order_of(load, "sideways")


def rows_of(load, **what):
    data, made = examples(load, ONE, TWO, THREE)
    return data.ExampleRows(made, 8, pad=0, packed=False, **what)


@case("6.3", "the orders of epochs 0 and 1, and 0 again")
def epochs(load):
    rows = rows_of(load, seed=5)
    return [list(rows.order(epoch)) for epoch in (0, 1, 0)]


@case("6.3", "not shuffled: the order, and the batch of step 1, two rows")
def as_given(load):
    rows = rows_of(load, shuffled=False)
    return [rows.order(3), rows.batch(1, 2)]


@case("6.3", "two rows of step 1, for the second of two processes")
def rows_of_the_second_process(load):
    return rows_of(load, shuffled=False).batch(1, 2, 1, 2)


@case("6.3", "packed rows are as wide as the context")
def packed_width(load):
    data, made = examples(load, ONE, TWO, THREE)
    return list(data.ExampleRows(made, 8, pad=0).batch(0, 1)[0].shape)


def detour(load, rank=1, alpha=2.0, b=None):
    lora = load("sft.lora")
    made = lora.LoRALinear(filled(torch.nn.Linear(3, 2), 1.0), rank, alpha)
    with torch.no_grad():
        made.a.copy_(wave(*made.a.shape, start=2.0))
        if b is not None:
            made.b.copy_(b * wave(*made.b.shape, start=3.0))
    return made


@case("6.3b", "a fresh detour: B, and how far its output is from the base's")
def at_the_start(load):
    made = detour(load)
    x = wave(2, 3)
    return [made.b.detach(), (made(x) - made.base(x)).abs().max()]


@case("6.3b", "the spread of A for 400 inputs, and the scale for rank 4, alpha 6")
def start_of_a(load):
    made = load("sft.lora").LoRALinear(torch.nn.Linear(400, 8), 4, 6.0)
    return [round(100 * float(made.a.std())) / 100, made.scale]


@case("6.3b", "rank 1, alpha 2, after some learning: the output")
def with_detour(load):
    return detour(load, b=1.0)(wave(2, 3))


@case("6.3b", "rank 2, alpha 1")
def half_scale(load):
    return detour(load, 2, 1.0, 1.0)(wave(2, 3))


@case("6.3b", "the same merged: the weight, and does it learn?")
def merged(load):
    made = detour(load, 2, 1.0, 1.0).merged()
    return [made.weight.detach(), made.weight.requires_grad]


@case("6.3b", "a rank of 3 for a matrix of 2 x 3: refused")
def rank_too_high(load):
    return detour(load, 3)


def what_learns(model):
    return sorted(name for name, p in model.named_parameters() if p.requires_grad)


@case("6.3b", "a model with detours: what learns")
def learning(load):
    return what_learns(load("sft.lora").add_lora(small_gpt(load), 2))


@case("6.3b", "the same with train_embedding=False, and the scale where alpha is not told")
def not_the_embedding(load):
    model = load("sft.lora").add_lora(small_gpt(load), 2, train_embedding=False)
    return [what_learns(model), model.blocks[0].mlp.project.scale]


@case("6.3b", "merged again: what learns, and is any detour left?")
def all_merged(load):
    lora = load("sft.lora")
    model = lora.merge_lora(lora.add_lora(small_gpt(load), 2))
    return [what_learns(model), any(isinstance(m, lora.LoRALinear) for m in model.modules())]


@case("6.3b", "a model without matrices of these names: refused")
def no_targets(load):
    return load("sft.lora").add_lora(torch.nn.Sequential(torch.nn.Linear(2, 2)), 1)


@case("6.4", "5 of 10 right: the interval")
def half(load):
    return load("sft.evaluation").wilson(5, 10)


@case("6.4", "0 of 4, and 4 of 4")
def extremes(load):
    return [load("sft.evaluation").wilson(n, 4) for n in (0, 4)]


@case("6.4", "nothing asked")
def nothing(load):
    return load("sft.evaluation").wilson(0, 0)


@case("6.4", "3 of 20 with z = 1")
def other_z(load):
    return load("sft.evaluation").wilson(3, 20, 1.0)


@case("6.4", "'the red cat' against 'a red cat sat'")
def words(load):
    return load("sft.evaluation").token_f1("the red cat", "a red cat sat")


@case("6.4", "'no no no' against 'no', and 'No.' against 'no'")
def repeated(load):
    return [load("sft.evaluation").token_f1(x, "no") for x in ("no no no", "No.")]


@case("6.4", "nothing in common; and both empty")
def no_words(load):
    return [load("sft.evaluation").token_f1("x", "y"), load("sft.evaluation").token_f1("", "")]


def in_a_form(load, run):
    """With a tokenizer that has a form of its own, whose tokens are 7 8 9 7 8."""
    form = load("sft.chat_format")
    before = form.encode_parts, form.in_its_form
    form.encode_parts = lambda parts, tokenizer: ([7, 8, 9, 7, parts], [False, True, True, False, True])
    form.in_its_form = lambda messages, tokenizer, *, reply: 100 + reply
    tokenizer = Letters()
    tokenizer.chat = "a form"
    try:
        return run(form, tokenizer)
    finally:
        form.encode_parts, form.in_its_form = before


@case("6.1", "a tokenizer with a form of its own: ids and labels, the first answer not to be learnt")
def released_labels(load):
    _, messages = talk(load, "u:H", "x:Y", "u:K", "a:Z")
    ids, labels = in_a_form(load, lambda form, t: form.encode_conversation(messages, t))
    return ids, [int(x) for x in labels]


@case("6.1", "the prompt in a form of its own")
def released_prompt(load):
    _, messages = talk(load, "u:H")
    return in_a_form(load, lambda form, t: form.encode_prompt(messages, t))
