"""Planted bugs: mixtures of others, in and out. For tests/planted_bugs.py."""

from planted import Bug

TEST = "tests/part_5/test_mixtures.py"
CONFIG, MIXTURES = "part_5/pretrained/config.py", "part_5/pretrained/mixtures.py"
LOADING, EXPORT = "part_5/pretrained/loading.py", "part_5/pretrained/export.py"

BUGS = [
    Bug("weights of a released mixture always sum to 1", CONFIG,
        "renormalize=sums_to_1,", "renormalize=True,", TEST),
    Bug("Mixtral's w2 and w3 swapped", MIXTURES, '("w1", "w3", "w2")', '("w1", "w2", "w3")', TEST),
    Bug("Mixtral's w1 and w3 swapped", MIXTURES, '("w1", "w3", "w2")', '("w3", "w1", "w2")', TEST),
    Bug("every expert is the first", "part_5/pretrained/weight_places.py",
        "whole[self.expert]", "whole[0]", TEST),
    Bug("every second layer begins with the first", CONFIG, "(i + 1) % step", "i % step", TEST),
    Bug("mlp_only_layers are not read", CONFIG, '"d" if i in dense or', '"d" if', TEST),
    Bug("the shared expert's gate is left out", CONFIG, "shared_gate=n_shared > 0, ",
        "shared_gate=False, ", TEST),
    Bug("one shared expert, however wide it is", CONFIG, "n_shared = shared // width",
        "n_shared = 1", TEST),
    Bug("a shared expert of another width passes", CONFIG, "if shared % width:", "if False:", TEST),
    Bug("Qwen3-MoE's window begins at max_window_layers", CONFIG, '"max_window_layers": 0, ', "",
        TEST),
    Bug("Mixtral's RoPE has Mistral's base where none is told", CONFIG,
        'config = {"rope_theta": 1e6, **config}', "pass", TEST),
    Bug("tuning a released mixture adds the router's losses", CONFIG,
        'balance="none", z_weight=0.0,', "", TEST),
    Bug("a scale is forgotten on the way out", EXPORT, "    model = with_scale_1(model)\n", "", TEST),
    Bug("a scale goes into the gates as well", EXPORT, 'name.endswith("experts.down")',
        '"experts." in name', TEST),
    Bug("biases that choose are lost on the way out", MIXTURES,
        'moe.balance == "bias"', "False", TEST),
    Bug("dense layers are not written down", MIXTURES, '                   if letter == "d"]}',
        '                   if letter == "b"]}', TEST),
]
