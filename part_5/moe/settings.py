"""What a training of experts is told: sizes, flags, and what cannot go together.

Used   train_moe.py
"""

from dataclasses import dataclass, replace

from gpt.model import GPTConfig
from run.distributed import KINDS, Processes
from run.thrift import add_thrift_flags

from moe.layer import MoEConfig
from moe.learning import BALANCE_WEIGHT, EMBEDDING_STD

PARALLEL = (*KINDS, "experts")  # how several processes share a model


@dataclass(frozen=True)
class Size:
    """How large the model and the run are."""

    n_layer: int = 4
    n_head: int = 4
    n_kv_head: int = 2
    n_embd: int = 128
    context: int = 128
    vocab_size: int = 1024
    world_megabytes: float = 4.0
    rows: int = 16          # rows of a step, of all processes together
    steps: int = 800
    peak: float = 4e-3      # highest learning rate

    def config(self, vocab_size: int) -> GPTConfig:
        return GPTConfig(vocab_size=vocab_size, block_size=self.context, n_layer=self.n_layer,
                         n_head=self.n_head, n_kv_head=self.n_kv_head, n_embd=self.n_embd,
                         qk_norm=True, embedding_std=EMBEDDING_STD)


PRESETS = {"tiny": Size(),
           "chain": Size(context=288, vocab_size=2560, world_megabytes=12.0, rows=8, steps=1250),
           "gpu": Size(n_layer=12, n_head=12, n_kv_head=4, n_embd=768, context=1024,
                       vocab_size=8192, world_megabytes=64, rows=64, steps=10_000, peak=1e-3)}


def add_flags(parser) -> None:
    experts = MoEConfig()
    parser.add_argument("--data", default="world",
                        help="world, stdlib, a file or folder, or several with + (default: world)")
    parser.add_argument("--steps", type=int, default=None, help="steps (default: the preset's)")
    parser.add_argument("--n-expert", type=int, default=experts.n_expert,
                        help=f"routed experts of a layer (default: {experts.n_expert})")
    parser.add_argument("--n-active", type=int, default=experts.n_active,
                        help=f"experts a token uses (default: {experts.n_active})")
    parser.add_argument("--n-shared", type=int, default=experts.n_shared,
                        help=f"experts that all tokens use (default: {experts.n_shared})")
    parser.add_argument("--scale", type=float, default=None,
                        help="sum of the weights of the chosen (default: --n-active, as loud as "
                             "the dense MLP)")
    parser.add_argument("--gate", default=experts.gate,
                        help=f"softmax or sigmoid (default: {experts.gate})")
    parser.add_argument("--balance", default=experts.balance,
                        help=f"loss, bias or none (default: {experts.balance})")
    parser.add_argument("--balance-weight", type=float, default=BALANCE_WEIGHT,
                        help=f"weight of the balance loss (default: {BALANCE_WEIGHT})")
    parser.add_argument("--capacity", type=float, default=None,
                        help="room of an expert in even shares, of each process by itself "
                             "(default: none, nothing dropped)")
    parser.add_argument("--layers", default=experts.layers,
                        help=f"every, alternate, after_1, blend or d, m, b (default: {experts.layers})")
    parser.add_argument("--world-megabytes", type=float, default=None,
                        help="text of the world to make (default: the preset's)")
    parser.add_argument("--resume", action="store_true",
                        help="go on with the training that was stopped in --out (default: off)")
    parser.add_argument("--fresh", action="store_true",
                        help="begin again although one was stopped there (default: off)")
    parser.add_argument("--save-every", type=int, default=200,
                        help="steps after which the training is saved (default: 200)")
    parser.add_argument("--stop-at", type=int, default=None,
                        help="stop and save after this step, as Ctrl-C would (default: never)")
    parser.add_argument("--parallel", choices=PARALLEL, default="ddp",
                        help="how several processes share the model: each has all of it (ddp), a slice "
                             "of every weight (fsdp), or its part of the experts (default: ddp)")
    add_thrift_flags(parser)


def chosen_size(args) -> Size:
    """The preset, with what was given in its place; ValueError for what makes no sense."""
    given = {"steps": args.steps, "world_megabytes": args.world_megabytes}
    size = replace(PRESETS[args.preset],
                   **{name: value for name, value in given.items() if value is not None})
    for flag, value in (("--steps", size.steps), ("--save-every", args.save_every),
                        ("--stop-at", args.stop_at)):
        if value is not None and value < 1:
            raise ValueError(f"{flag} {value}: must be at least 1")
    if not 0 < size.world_megabytes < float("inf"):
        raise ValueError(f"--world-megabytes {size.world_megabytes}: must be above 0")
    return size


def chosen_experts(args) -> MoEConfig:
    return MoEConfig(n_expert=args.n_expert, n_active=args.n_active, n_shared=args.n_shared,
                     scale=args.n_active if args.scale is None else args.scale, gate=args.gate,
                     balance=args.balance, balance_weight=args.balance_weight,
                     capacity=args.capacity, layers=args.layers)


def check_division(size: Size, args, processes: Processes) -> None:
    """ValueError for what several processes cannot share."""
    world = processes.world
    if size.rows % world:
        raise ValueError(f"--preset {args.preset}: the {size.rows} rows of a step cannot be shared by "
                         f"{world} processes; start a number that divides {size.rows}")
    if args.parallel == "experts" and args.n_expert % world:
        raise ValueError(f"--parallel experts: --n-expert {args.n_expert} cannot be spread evenly over "
                         f"{world} processes; choose a multiple of {world}")
