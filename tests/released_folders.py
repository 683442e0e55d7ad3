"""Whole folders of released models, small and random, made again from a seed: test material.

Config, weights, tokenizer, chat template. Used by tests of parts 4 to 9 and by
tests/part_4/data/make_released.py, which asks `transformers` for the figures of these very folders.
The tokenizers lie in tests/part_4/data; the weights are NumPy's and are not stored.
"""

import json
from pathlib import Path

from pretrained_folders import COMMON, random_weights, write_file

DATA = Path(__file__).resolve().parent / "part_4" / "data"
VOCAB = 384  # larger than every tokenizer here, as in most released models
SMALL = COMMON | {"vocab_size": VOCAB, "max_position_embeddings": 256}
CHATML = ("{% for message in messages %}{% if loop.first and message['role'] != 'system' %}"
          "{{ '<|im_start|>system\nYou are helpful and small<|im_end|>\n' }}{% endif %}"
          "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
          "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}")
TOOLS = r"""{%- if messages[0].role == 'system' %}{{- '<|im_start|>system\n' + messages[0].content + '<|im_end|>\n' }}
{%- else %}{{- '<|im_start|>system\nYou are small. You help.<|im_end|>\n' }}{%- endif %}
{%- for m in messages %}
  {%- if m.role == 'tool' %}
    {%- if loop.first or loop.previtem.role != 'tool' %}{{- '<|im_start|>user' }}{%- endif %}
    {{- '\n<tool_response>\n' + m.content + '\n</tool_response>' }}
    {%- if loop.last or loop.nextitem.role != 'tool' %}{{- '<|im_end|>\n' }}{%- endif %}
  {%- elif not (loop.first and m.role == 'system') %}{{- '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}
  {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}"""
THINKS = r"""{%- set ns = namespace(last_query_index=-1) %}
{%- for m in messages %}{%- if m.role == 'user' %}{%- set ns.last_query_index = loop.index0 %}{%- endif %}{%- endfor %}
{%- for m in messages %}
  {%- set content = m.content %}{%- set thought = '' %}
  {%- if m.role == 'assistant' and '</think>' in content %}
    {%- set thought = content.split('</think>')[0].rstrip('\n').split('<think>')[-1].lstrip('\n') %}
    {%- set content = content.split('</think>')[-1].lstrip('\n') %}
  {%- endif %}
  {{- '<|im_start|>' + m.role + '\n' }}
  {%- if m.role == 'assistant' and loop.index0 > ns.last_query_index and (loop.last or thought) %}
    {{- '<think>\n' + thought.strip('\n') + '\n</think>\n\n' + content.lstrip('\n') }}
  {%- else %}{{- content }}{%- endif %}
  {{- '<|im_end|>\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}
  {%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\n\n</think>\n\n' }}{%- endif %}
{%- endif %}"""
LLAMA3 = ("{% for message in messages %}{% if loop.first %}{{ bos_token }}{% endif %}"
          "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' + "
          "message['content'] | trim + '<|eot_id|>' }}{% endfor %}{% if add_generation_prompt %}"
          "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}")
DATED = r"""{{- bos_token }}
{%- if not date_string is defined %}{%- set date_string = "26 Jul 2024" %}{%- endif %}
{%- if messages[0]['role'] == 'system' %}{%- set system = messages[0]['content'] | trim %}{%- set messages = messages[1:] %}
{%- else %}{%- set system = '' %}{%- endif %}
{{- '<|start_header_id|>system<|end_header_id|>\n\n' }}
{{- 'Cutting Knowledge Date: December 2023\n' }}
{{- 'Today Date: ' + date_string + '\n\n' + system + '<|eot_id|>' }}
{%- for m in messages %}
  {%- if m.role == 'tool' %}{{- '<|start_header_id|>ipython<|end_header_id|>\n\n' + m.content | tojson + '<|eot_id|>' }}
  {%- else %}{{- '<|start_header_id|>' + m.role + '<|end_header_id|>\n\n' + m.content | trim + '<|eot_id|>' }}{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{%- endif %}"""
MISTRAL = r"""{{- bos_token }}{%- if messages[0].role == 'system' %}{%- set lead = messages[0].content + '\n\n' %}{%- set messages = messages[1:] %}
{%- else %}{%- set lead = '' %}{%- endif %}
{%- set ns = namespace(last=-1) %}{%- for m in messages %}{%- if m.role == 'user' %}{%- set ns.last = loop.index0 %}{%- endif %}{%- endfor %}
{%- for message in messages %}
  {%- if message.role == 'user' %}{{- '[INST]' + (lead if loop.index0 == ns.last else '') + message.content + '[/INST]' }}
  {%- else %}{{- message.content + eos_token }}{%- endif %}
{%- endfor %}"""
OLD_MISTRAL = ("{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}"
               "{{ '[INST] ' + message['content'] + ' [/INST]' }}{% else %}"
               "{{ message['content'] + eos_token }}{% endif %}{% endfor %}")
# name -> (config.json, tokenizer in data/, template, begin, end, pad)
FOLDERS = {
    "smollm2": (SMALL | {"model_type": "llama", "rms_norm_eps": 1e-5, "rope_theta": 1e5,
                         "tie_word_embeddings": True, "num_attention_heads": 2,
                         "num_key_value_heads": 1, "bos_token_id": 1, "eos_token_id": 2},
                "smollm2", CHATML, "<|im_start|>", "<|im_end|>", "<|im_end|>"),
    "qwen2.5": (SMALL | {"model_type": "qwen2", "rms_norm_eps": 1e-6, "rope_theta": 1e6,
                         "use_sliding_window": False, "sliding_window": 8, "max_window_layers": 2},
                "qwen", TOOLS, None, "<|im_end|>", "<|endoftext|>"),
    "qwen3": (SMALL | {"model_type": "qwen3", "rms_norm_eps": 0.02, "rope_theta": 1e6, "head_dim": 16,
                       "attention_bias": False, "tie_word_embeddings": True},
              "qwen", THINKS, None, "<|im_end|>", "<|endoftext|>"),
    "qwen3_yarn": (SMALL | {"model_type": "qwen3", "rms_norm_eps": 1e-6, "rope_theta": 500.0,
                            "head_dim": 16, "attention_bias": False, "rope_scaling": {
                                "rope_type": "yarn", "factor": 4.0,
                                "original_max_position_embeddings": 32}},
                   "qwen", None, None, "<|endoftext|>", "<|endoftext|>"),
    "llama2_yarn": (SMALL | {"model_type": "llama", "rms_norm_eps": 1e-5, "rope_theta": 100.0,
                             "rope_scaling": {"type": "yarn", "factor": 2.0, "beta_fast": 2.0,
                                              "beta_slow": 0.5, "attention_factor": 1.3,
                                              "original_max_position_embeddings": 64}},
                    "smollm2", None, "<|endoftext|>", "<|endoftext|>", None),
    "llama3": (SMALL | {"model_type": "llama", "rms_norm_eps": 1e-5, "rope_theta": 500.0},
               "llama3", LLAMA3, "<|begin_of_text|>", "<|eot_id|>", None),
    "llama3.1": (SMALL | {"model_type": "llama", "rms_norm_eps": 1e-5, "rope_theta": 500.0,
                          "rope_scaling": {"rope_type": "llama3", "factor": 4.0,
                                           "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                                           "original_max_position_embeddings": 16}},
                 "llama3", DATED, "<|begin_of_text|>", "<|eot_id|>", None),
    "mistral": (SMALL | {"model_type": "mistral", "rms_norm_eps": 1e-5, "sliding_window": 8,
                         "rope_theta": 1e4, "head_dim": 12},
                "mistral", MISTRAL, "<s>", "</s>", None),
    "old_mistral": (SMALL | {"model_type": "mistral", "rms_norm_eps": 1e-5, "sliding_window": None,
                             "rope_theta": 1e4, "head_dim": 8},
                    "mistral", OLD_MISTRAL, "<s>", "</s>", "<pad>"),
}
TEXTS = ["The fox said: \"I'll wait.\"", "the crow and THE CROW'S cheese", "", " ", "  two  gaps ",
         "12345 and 6.78, 1,000 x2", "line\n\n  line\r\n\ttab", "naïve cafe\u0301 — déjà vu",
         "狐狸说 🦊!", "<|im_end|> <think> </think>", "a<|endoftext|>b[INST]", "e\u0301\u200b\x00",
         "x\x00y\x07\x07z\x00 ab\x00c", "²³ ½ ٣٤ Ⅷ", "He said.\nThen: \"Yes.\"\n"]
ASKED = [[("user", "What is the crow's cheese?")],
         [("system", "Be brief."), ("user", "Hi"), ("assistant", "Hello."), ("user", "And 2 + 2?")],
         [("user", "  blanks \n"), ("assistant", "I wait."), ("user", "naïve 狐狸 \x00 12345")]]
ANSWERED = [[*ASKED[0], ("assistant", "The fox has it.")],
            [*ASKED[1], ("assistant", "4")], [*ASKED[2], ("assistant", "It is 1,000.\nYes")]]
WITH_TOOLS = [("user", "Add"), ("assistant", "one moment"), ("tool", "{\"sum\": 3}"),
              ("tool", "ok \"x\""), ("assistant", "3")]
WITH_THOUGHT = [("user", "a"), ("assistant", "<think>\nso\n</think>\n\nb"), ("user", "c"),
                ("assistant", "<think>\nhm\n</think>\n\nd")]


def make_released(folder: Path, name: str, *, template: str | None = "own", **changes) -> Path:
    """Write the folder of FOLDERS[name]; `changes` go into config.json."""
    return write_released(Path(folder), FOLDERS[name], template, changes,
                          is_apart=name in ("smollm2", "llama3.1"))


def write_released(folder: Path, entry: tuple, template: str | None = "own", changes: dict | None = None,
                   is_apart: bool = False) -> Path:
    """`entry`: as in FOLDERS. `is_apart`: the template has a file of its own, as in newer folders."""
    folder.mkdir(parents=True, exist_ok=True)
    config, tokenizer, own, begin, end, pad = entry
    (folder / "config.json").write_text(json.dumps(config | (changes or {})))
    write_file(folder / "model.safetensors", random_weights(config))
    (folder / "tokenizer.json").write_bytes((DATA / f"{tokenizer}.json").read_bytes())
    said = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": begin, "eos_token": end,
            "pad_token": pad, "clean_up_tokenization_spaces": False}
    template = own if template == "own" else template
    if template and is_apart:
        (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    elif template:
        said["chat_template"] = template
    (folder / "tokenizer_config.json").write_text(json.dumps(said))
    return folder
