"""Planted bugs: weights in files, and GPT-2's folder. Run by tests/planted_bugs.py."""

from planted import Bug

FILES, LOAD = "tests/part_2/test_safetensors_io.py", "tests/part_2/test_load_pretrained.py"
IO, PLACES = "part_2/pretrained/safetensors_io.py", "part_2/pretrained/weight_places.py"
CONFIG = "part_2/pretrained/config.py"

BUGS = [
    Bug("safetensors: offsets counted from the start of the file", IO,
        "piece = data[start + entry.begin:start + entry.end]",
        "piece = data[8 + entry.begin:8 + entry.end]", FILES),
    Bug("safetensors: overlapping tensors pass", IO,
        "if entry.begin != place:", "if entry.begin > place:", FILES),
    Bug("safetensors: size of shape not compared with the bytes", IO,
        "if end - begin != need:", "if end < begin:", FILES),
    Bug("safetensors: a file cut short passes", IO,
        "if 8 + length + place != size:", "if 8 + length + place < size:", FILES),
    Bug("safetensors: the length of the header is trusted", IO,
        "if length > min(_MAX_HEADER, size - 8):", "if length > 2**64:", FILES),
    Bug("safetensors: a turned matrix is written in its memory order", IO,
        "file.write(plain.reshape(-1)", "file.write(plain.as_strided((plain.numel(),), (1,))",
        FILES),
    Bug("safetensors: names given twice pass", IO,
        "            if name in fields:\n", "            if False:\n", FILES),
    Bug("safetensors: numbers that begin at an odd byte are not copied", IO,
        "if piece.ctypes.data % entry.dtype.itemsize:", "if False:", FILES),
    Bug("an index may point outside of its folder", IO,
        'if not isinstance(file, str) or Path(file).name != file or "\\\\" in file:',
        "if not isinstance(file, str):", FILES),
    Bug("an index and its shard may disagree", IO,
        "odd = sorted(set(names) ^ set(shard))", "odd = sorted(set(names) - set(shard))", FILES),
    Bug("shards grow beyond the limit", IO,
        "        room -= size\n", "        room -= 0\n", FILES),
    Bug("GPT-2's matrices are not turned", PLACES,
        "return rows.T if self.turned else rows", "return rows", LOAD),
    Bug("GPT-2's masks are taken for left-over weights", PLACES,
        "(attn\\.(bias|masked_bias)|rotary", "(attn\\.(masked_bias)|rotary", LOAD),
    Bug("left-over weights are passed over", PLACES,
        'else wrong["left over"]).append(name)', "else tables).append(name)", LOAD),
    Bug("missing weights are passed over", PLACES,
        "if not p.is_copy and name not in seen]", "if False]", LOAD),
    Bug("a head that differs from the tied embedding is passed over", PLACES,
        "copies[name] = tensor", "pass", LOAD),
    Bug("the first and second norm of a GPT-2 block are swapped", "part_2/pretrained/loading.py",
        '"ln_1": "norm_1", "attn.c_attn": "attention.qkv",',
        '"ln_1": "norm_2", "attn.c_attn": "attention.qkv",', LOAD),
    Bug("GPT-2 loaded with the exact GELU", CONFIG,
        '"gelu_new": "tanh"', '"gelu_new": "exact"', LOAD),
    Bug("GPT-2's layer_norm_epsilon is ignored", CONFIG,
        '_real_number(config, "layer_norm_epsilon", 1e-5)', "1e-5", LOAD),
]
