"""How fast is this model, with and without its cache, and beside another implementation?

    python benchmark_speed.py                  a 30M model: about three minutes
    python benchmark_speed.py --peer           and transformers' Llama of equal shape, if installed
    python benchmark_speed.py --quick          seconds: a tiny model, only the form

Training: forward, backward and AdamW. Decoding: 32 tokens of prompt, greedy, at batch 1 and 32.
The contestants take turns in an order drawn anew, medians are shown. Writes speed.json.
"""

from run.runtime import (
    choose_device,
    formats_to_time,
    keep_memory,
    make_parser,
    out_folder,
    print_table,
    run_main,
    save_json,
    seed_everything,
    synchronize,
)

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
import importlib.util
import random
import statistics
import time

import torch
import torch.nn.functional as F
from generate import stream
from model import GPT, GPTConfig

PROMPT = 32


def make_ours(args, **settings) -> GPT:
    return GPT(GPTConfig(vocab_size=args.vocab, block_size=args.context, n_layer=args.layers,
                         n_head=args.heads, n_embd=args.width, **settings))


def make_peer(args):
    """transformers' Llama of the same shape. Raises ValueError where it is not installed."""
    if importlib.util.find_spec("transformers") is None:
        raise ValueError("--peer needs the package transformers: pip install transformers, "
                         "or leave --peer out")
    from transformers import LlamaConfig, LlamaForCausalLM  # optional, and slow to import
    width = GPTConfig(n_embd=args.width, n_head=args.heads).n_hidden
    model = LlamaForCausalLM(LlamaConfig(
        vocab_size=args.vocab, hidden_size=args.width, intermediate_size=width,
        num_hidden_layers=args.layers, num_attention_heads=args.heads,
        num_key_value_heads=args.heads, max_position_embeddings=args.context,
        tie_word_embeddings=True, bos_token_id=None, eos_token_id=None, pad_token_id=0))
    model.generation_config.eos_token_id = None
    return model


def take_turns(contestants: dict, repeats: int, device) -> dict[str, float]:
    """Name -> a function; -> name -> seconds, the median of `repeats` after one warm-up."""
    taken = {name: [] for name in contestants}
    for turn in range(repeats + 1):
        for name, run in random.sample(list(contestants.items()), len(contestants)):
            synchronize(device)
            start = time.perf_counter()
            run()
            synchronize(device)
            if turn:
                taken[name].append(time.perf_counter() - start)
    return {name: statistics.median(times) for name, times in taken.items()}


def training_step(model, ids, targets, amp_dtype, is_peer: bool):
    """-> a function that makes one step."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)

    def step():
        with torch.autocast(ids.device.type, dtype=amp_dtype, enabled=amp_dtype is not None):
            if is_peer:
                logits = model(ids).logits.float()
                loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
            else:
                loss = model(ids, targets)[1]
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return step


def training_speeds(args, device, amp_dtype) -> dict[str, float]:
    shape = (args.batch_size, min(args.context, 512))
    ids, targets = (torch.randint(0, args.vocab, shape, device=device) for _ in range(2))
    models = {"ours": make_ours(args)} | ({"transformers": make_peer(args)} if args.peer else {})
    steps = {name: training_step(model.to(device).train(), ids, targets, amp_dtype,
                                 name == "transformers") for name, model in models.items()}
    return {name: ids.numel() / seconds
            for name, seconds in take_turns(steps, args.repeats, device).items()}


@torch.inference_mode()
def decode_uncached(model, ids: torch.Tensor, new: int) -> None:
    """Read everything again for every token."""
    for _ in range(new):
        logits, _ = model(ids, last_only=True)
        ids = torch.cat([ids, logits[:, -1].argmax(-1, keepdim=True)], dim=1)


def decoding_speeds(args, device, dtype, batch: int) -> dict[str, float]:
    ids = torch.randint(0, args.vocab, (batch, PROMPT), device=device)
    ours = make_ours(args).to(device, dtype).eval()
    runs = {"ours": lambda: list(stream(ours, ids.tolist(), args.new))}
    if args.peer:
        peer = make_peer(args).to(device, dtype).eval()
        settings = {"max_new_tokens": args.new, "min_new_tokens": args.new, "do_sample": False,
                    "attention_mask": torch.ones_like(ids)}
        for kind, more in (("transformers", {}), ("transformers, static cache", {
                "cache_implementation": "static", "disable_compile": True})):
            runs[kind] = lambda more=more: peer.generate(ids, **settings, **more)
    timed = take_turns(runs, args.repeats, device)
    if batch == 1:
        timed |= take_turns({"ours, no cache": lambda: decode_uncached(ours, ids, args.new)}, 1,
                            device)
    return {name: batch * args.new / seconds for name, seconds in timed.items()}


@torch.inference_mode()
def step_times(args, device, dtype) -> dict[int, float]:
    """Tokens in the cache -> milliseconds for the next one."""
    model = make_ours(args).to(device, dtype).eval()
    ids = torch.randint(0, args.vocab, (1, args.context), device=device)
    milliseconds = {}
    for length in (args.context // 16, args.context // 4, args.context // 2, args.context - 17):
        cache = model.make_cache(1, args.context)
        model(ids[:, :length], cache=cache, last_only=True)
        step = {"step": lambda cache=cache: model(ids[:, :1], cache=cache, last_only=True)}
        milliseconds[length] = 1e3 * take_turns(step, 15, device)["step"]
    return milliseconds


QUICK = {"layers": 1, "heads": 2, "width": 32, "vocab": 64, "context": 64, "batch_size": 2, "new": 8,
         "repeats": 1}


def parse_args(argv=None):
    parser = make_parser(__doc__, runs_model=False)
    add, usual = parser.add_argument, {}
    add("--device", default="auto", help="auto, cpu, cuda or mps (default: auto)")
    add("--peer", action="store_true", help="measure transformers' Llama too (default: off)")
    add("--only", choices=("all", "training", "decoding"), default="all",
        help="what to measure (default: all)")
    for flag, default, text in (
            ("--layers", 8, "blocks"), ("--heads", 8, "heads"), ("--width", 512, "width"),
            ("--vocab", 8192, "vocabulary"), ("--context", 1024, "tokens of context"),
            ("--batch-size", 4, "rows of 512 tokens in training"),
            ("--new", 256, "tokens to decode"), ("--repeats", 3, "runs of each contestant")):
        quick = QUICK[flag[2:].replace("-", "_")]
        add(flag, type=int, default=None,
            help=f"{text} (default: {default}; quick: {quick})")
        usual[flag[2:].replace("-", "_")] = default
    add("--quick", action="store_true", help="a tiny model (default: off)")
    args = parser.parse_args(argv)
    for name, default in (QUICK if args.quick else usual).items():
        if getattr(args, name) is None:
            setattr(args, name, default)
    for name in ("layers", "heads", "width", "vocab", "batch_size", "new", "repeats"):
        if getattr(args, name) < 1:
            flag = f"--{name.replace('_', '-')}"
            raise ValueError(f"{flag} {getattr(args, name)}: must be at least 1")
    if args.context < PROMPT + args.new:
        raise ValueError(f"--context {args.context}: must be at least {PROMPT} + --new {args.new}")
    return args


def main(argv=None):
    args = parse_args(argv)
    out = out_folder(__file__, args.out)
    seed_everything(args.seed)
    device, reason = choose_device(args.device)
    if device.type == "cpu":
        keep_memory()  # for every contestant alike, as in training
    print(f"device  {device}  {reason}\nmodel   {make_ours(args).count_parameters():,} parameters")
    rows, step_ms = [], {}

    def note(*row):
        rows.append(list(row))
        print(f"  {row[0]}, {row[1]}, {row[2]}: {row[3]:,.0f}", flush=True)

    for name, dtype in formats_to_time(device).items():
        if args.only != "decoding":
            for who, speed in training_speeds(args, device, dtype).items():
                note(f"training, {args.batch_size} rows", name, who, speed)
        for batch in (1, 32) if args.only != "training" else ():
            speeds = decoding_speeds(args, device, dtype or torch.float32, batch)
            for who, speed in speeds.items():
                note(f"decoding, {batch} row{'s' * (batch > 1)}", name, who, speed)
        if args.only != "training":
            step_ms[name] = step_times(args, device, dtype or torch.float32)
    print_table(["work", "type", "who", "tokens a second"], rows)
    if step_ms:
        print_table(["type", *(f"after {n}" for n in step_ms["float32"])],
                    [[name, *times.values()] for name, times in step_ms.items()],
                    "milliseconds for one token, by how many the cache holds")
    save_json(out / "speed.json", {"rows": rows, "step_ms": step_ms})


if __name__ == "__main__":
    run_main(main)
