"""What one would get wrong in the plain cache; each must fail a test."""

from planted import Bug

FILE, TEST = "part_3/plain_cache.py", "tests/part_3/test_plain_cache.py"

BUGS = [
    Bug("the plain cache never moves on", FILE, "cache.seen += T ", "cache.seen += 0 ", TEST),
    Bug("the first query of a chunk sees too little", FILE, ".tril(N - T)", ".tril()", TEST),
    Bug("each layer of the plain form moves the cache on", FILE,
        "        x = x + block.mlp(block.norm_2(x))\n    if cache is not None:\n        cache.seen += T",
        "        x = x + block.mlp(block.norm_2(x))\n        if cache is not None:\n"
        "            cache.seen += T // len(model.blocks)\n    if cache is not None:\n"
        "        cache.seen += 0", TEST),
    Bug("key heads are dealt out in turn", FILE,
        "k = k.repeat_interleave(H // K, dim=1)  #", "k = k.repeat(1, H // K, 1, 1)  #", TEST),
    Bug("a chunk counts its positions from 0", FILE,
        "torch.arange(first, first + T)[None], first + T - 1)",
        "torch.arange(0, T)[None], first + T - 1)", TEST),
    Bug("the value slots hold keys", FILE, "self.values[layer, :, :, self.seen:end] = v",
        "self.values[layer, :, :, self.seen:end] = k", TEST),
]
