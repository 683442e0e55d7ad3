"""This repository's tokenizers and chat forms, written as other programs read them.

Idea   tokenizer.json lists merges as pairs. Here a token is merged wherever its bytes come together,
       so every pair of tokens that makes it is listed, one behind the other.
Used   pretrained/export.py
"""

from text.tokenizer_files import byte_characters

from pretrained.chat_forms import ChatForm

ROLE = "'<|' + message['role'] + '|>'"  # in the template of part 6's own format, and in no other


def merges_of(tokens: dict[bytes, int]) -> list[list[bytes]]:
    """{b"a": 0, b"b": 1, b"ab": 2} -> [[b"a", b"b"]]: the pairs of each token, in the ids' order."""
    return [[token[:i], token[i:]] for token in sorted(tokens, key=tokens.get)
            for i in range(1, len(token)) if token[:i] in tokens and token[i:] in tokens]


def tokenizer_json(tokenizer) -> dict:
    """text.tokenizer.Tokenizer -> the content of tokenizer.json. A text begins with <|begin|>."""
    letters = {byte: letter for letter, byte in byte_characters().items()}

    def written(token: bytes) -> str:
        return "".join(letters[byte] for byte in token)

    begin = next(name for name, i in tokenizer.special.items() if i == tokenizer.begin)
    sides = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
                  "use_regex": False}
    opened = [{"SpecialToken": {"id": begin, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": i, "content": name, **sides, "special": True}
                         for name, i in sorted(tokenizer.special.items(), key=lambda x: x[1])],
        "normalizer": {"type": tokenizer.normalizer} if tokenizer.normalizer else None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": tokenizer.pattern}, "behavior": "Isolated",
             "invert": False}, byte_level]},
        "post_processor": {
            "type": "TemplateProcessing", "single": opened,
            "pair": [*opened, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {begin: {"id": begin, "ids": [tokenizer.begin], "tokens": [begin]}}},
        "decoder": byte_level | {"add_prefix_space": True, "use_regex": True},
        "model": {"type": "BPE", "dropout": None, "unk_token": None,
                  "continuing_subword_prefix": None, "end_of_word_suffix": None,
                  "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                  "vocab": {written(token): i for token, i in tokenizer.tokens.items()},
                  "merges": [[written(a), written(b)] for a, b in merges_of(tokenizer.tokens)]}}


def jinja_of(form: ChatForm | None, begin: str, end: str) -> str:
    """A chat form as a template that other programs run. None: the roles of part 6."""
    begin, end = repr(begin), repr(end)
    if form is None:
        return (f"{{{{ {begin} }}}}{{% for message in messages %}}{{{{ {ROLE} + "
                "(' ' if message['role'] == 'assistant' else '') + message['content'] + "
                f"{end} }}}}{{% endfor %}}{{% if add_generation_prompt %}}"
                "{{ '<|assistant|>' }}{% endif %}")
    if form.name == "mistral":
        return ("{% set ns = namespace(system='', last=-1) %}{% for message in messages %}"
                "{% if message['role'] == 'system' %}{% set ns.system = message['content'] + "
                "'\\n\\n' %}{% elif message['role'] == 'user' %}{% set ns.last = loop.index0 %}"
                f"{{% endif %}}{{% endfor %}}{{{{ {begin} }}}}{{% for message in messages %}}"
                "{% if message['role'] == 'user' %}{{ '[INST]' + (ns.system if loop.index0 == "
                "ns.last else '') + message['content'] + '[/INST]' }}"
                "{% elif message['role'] == 'assistant' %}{{ message['content'] + "
                f"{end} }}}}{{% endif %}}{{% endfor %}}")
    head, tail, text = ("'<|start_header_id|>' + ", "'<|end_header_id|>\\n\\n' + ",
                        "message['content'] | trim + '<|eot_id|>'")
    if form.name == "chatml":
        head, tail, text = "'<|im_start|>' + ", "'\\n' + ", "message['content'] + '<|im_end|>\\n'"
    opened = f"{{{{ {begin} }}}}" if form.begin else ""
    asked = (head.removesuffix("' + ") + "assistant" + tail.removesuffix(" + ").removeprefix("'"))
    return (f"{opened}{{% for message in messages %}}{{{{ {head}message['role'] + {tail}{text} }}}}"
            f"{{% endfor %}}{{% if add_generation_prompt %}}{{{{ {asked} }}}}{{% endif %}}")
