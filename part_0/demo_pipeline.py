"""What does it take to raise a language model? Runs the whole chain, from an empty folder.

    python part_0/demo_pipeline.py                  everything that is not there yet
    python part_0/demo_pipeline.py --moe            with a model of experts beside the base model
    python part_0/demo_pipeline.py --only sft       one stage
    python part_0/demo_pipeline.py --seeds 3        three times over, for intervals
    python part_0/demo_pipeline.py --preset smoke   a small chain in minutes, in out/smoke/
    python part_0/demo_pipeline.py --report         trains nothing: the report card of what is there

Each stage is a process of its own; two of which neither needs the other run side by side, a thread
each, where there are two cores. A stage whose result is there, made with the same settings, is not
run again; Ctrl-C and the same command go on where it stopped.
See: the report card, part_0/out/report.html (and report.md, report.json, pipeline.png): what each
stage took and gave, every skill stage by stage, twelve questions answered by each stage's model.
"""

from runtime import (
    choose_device,
    here,
    make_parser,
    out_folder,
    print_table,
    run_main,
    save_json,
)

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
import time
from dataclasses import replace
from pathlib import Path

from asking import ASK_SECONDS, ask_models, is_asked
from at_work import run_stages, seconds_of
from before_torch import cores
from chain import STAGES, summary_of
from machine import machine_slowness
from pipeline import (
    PRESETS,
    Chain,
    Stage,
    can_go_on,
    choose,
    estimate,
    has_own_result,
    is_done,
    only_one,
    stopped_like_ctrl_c,
)
from report_card import gather, tables
from report_pages import write_pages
from report_picture import draw

MOST_JOBS = 8  # no chain has more stages that could run at once
LONG = 20 * 60  # seconds of a plan that is longer than somebody may want to wait at first


def chains_of(args) -> list[Chain]:
    """One chain a seed. The first writes to the parts' own folders, or under --out; the others
    beside its notes. The smoke preset never replaces what a longer chain has made."""
    out = Path(args.out).expanduser().resolve() if args.out else None
    if out is None and args.preset == "smoke":
        out = here(__file__) / "out" / "smoke"
    home = out_folder(__file__, str(out / "part_0") if out else None)
    common = [text for flag in ("device", "amp") if (value := getattr(args, flag)) != "auto"
              for text in (f"--{flag}", value)]
    first = Chain(args.preset, args.seed, home, out, tuple(common))
    others = [home / f"seed_{seed}" for seed in range(args.seed + 1, args.seed + args.seeds)]
    return [first, *(replace(first, seed=first.seed + 1 + number, home=out_folder(__file__, folder),
                             out=folder) for number, folder in enumerate(others))]


def jobs_of(args) -> int:
    """How many stages run side by side. On a GPU one has it for itself."""
    if args.jobs is None:
        return 2 if cores() > 1 and choose_device(args.device)[0].type == "cpu" else 1
    if not 1 <= args.jobs <= MOST_JOBS:
        raise ValueError(f"--jobs {args.jobs}: must be from 1 to {MOST_JOBS}")
    return args.jobs


def what_is_there(stage: Stage, chain: Chain) -> str:
    """What will happen to a stage that is not done."""
    if can_go_on(stage, chain):
        return "goes on where it stopped"
    if chain.result(stage).is_file() and not has_own_result(stage, chain):
        return f"replaces {stage.name}.json, which another command made"
    return ""


def show_plan(chains: list[Chain], stages: list[Stage], jobs: int) -> None:
    """What will run, and about how long it takes here. A stage whose input is made anew counts: it
    runs, unless that comes out the same to the bit."""
    slower, rows, left = machine_slowness(), [], 0.0
    for chain in chains:
        changing: set[str] = set()  # files that will be made anew
        takes: dict[str, float] = {}  # seconds of the stages that run
        for stage in stages:
            seconds = estimate(stage, chain, slower)
            runs = not is_done(stage, chain) or bool(changing & set(stage.inputs.values()))
            if runs:
                takes[stage.name] = seconds
                changing.add(stage.checkpoint)
            if stage.speaks and (runs or not is_asked(stage, chain)):
                left += ASK_SECONDS * slower
            rows.append([stage.name, str(chain.seed), stage.title, f"{seconds / 60:.1f} minutes" if runs else
                         "done already", what_is_there(stage, chain) if runs else ""])
        left += seconds_of([stage for stage in stages if stage.name in takes], takes, jobs)
    print_table(["stage", "seed", "what happens", "about", ""], rows, title="The plan")
    aside = "stages side by side and " if jobs > 1 else ""
    print(f"\nin all about {left / 60:.1f} minutes on this machine, {aside}questions to the models "
          "included")
    if left > LONG and chains[0].preset != "smoke":
        print(f"for a first look: python part_0/demo_pipeline.py --preset smoke, about "
              f"{first_look(stages, jobs) * slower / 60:.1f} minutes")
    print(flush=True)


def first_look(stages: list[Stage], jobs: int) -> float:
    """Seconds of the smoke preset on the machine that the lessons name."""
    takes = {stage.name: stage.seconds["smoke"] for stage in stages}
    return seconds_of(stages, takes, jobs) + ASK_SECONDS * sum(bool(s.speaks) for s in stages)


def run_chain(chain: Chain, stages: list[Stage], jobs: int, lock: Path) -> None:
    """Every stage that is not done, each with a line of its results."""
    heads = {stage.name: f"== {stage.name} ({number} of {len(stages)}, seed {chain.seed})"
             for number, stage in enumerate(stages, 1)}

    def begins(stage, log):
        where = f" (what it says: {log})" if log else ""
        print(f"{heads[stage.name]}: {stage.title}{where}", flush=True)

    def ends(stage, results):
        print(f"{heads[stage.name]}: {summary_of(stage, results['metrics'])}\n", flush=True)

    run_stages(stages, chain, jobs, lock, begins, ends)


def ask_all(chains: list[Chain], stages: list[Stage]) -> tuple[dict[str, list[dict]], list[str]]:
    """-> (stage -> what its models answered, one a seed; what went wrong). Models that are not
    there are left out."""
    there = [(stage, chain) for stage in stages for chain in chains
             if stage.speaks and chain.result(stage).is_file()
             and chain.file(stage.checkpoint).is_file()]
    if new := [f"{stage.name} (seed {chain.seed})" for stage, chain in there
               if not is_asked(stage, chain)]:
        print(f"asking  the models of {', '.join(new)}", flush=True)
    asked, problems = ask_models(there)
    by_stage = {}
    for (stage, _), answers in zip(there, asked):
        if answers is not None:
            by_stage.setdefault(stage.name, []).append(answers)
    return by_stage, problems


def write_report(chains: list[Chain]) -> None:
    """The report card of whatever is there: four files, and its tables of figures here.

    Raises ValueError, after writing it, when a model could not be asked.
    """
    asked, problems = ask_all(chains, STAGES)
    report = gather(STAGES, chains, asked)
    if not report["stages"]:
        raise ValueError("there is nothing to report: no stage has left a result; run "
                         "python part_0/demo_pipeline.py without --report")
    folder = chains[0].home
    save_json(folder / "report.json", report)
    for table in tables(report):
        if not table.is_prose:
            print_table(table.header, table.rows, table.title)
    print()
    draw(report, chains[0], folder / "pipeline.png")
    write_pages(report, folder, folder / "pipeline.png")
    if problems:
        raise ValueError("; ".join(problems))


def parse_args(argv=None):
    parser = make_parser(__doc__, presets=PRESETS, preset="quick")
    parser.add_argument("--from", dest="first", metavar="STAGE",
                        help="start at this stage (default: the first)")
    parser.add_argument("--only", metavar="STAGE", help="run this stage alone (default: all)")
    parser.add_argument("--seeds", type=int, default=1, metavar="N",
                        help="how many seeds, from --seed on (default: 1)")
    parser.add_argument("--gpt", action="store_true",
                        help="begin with part 2's tiny GPT on fables (default: off)")
    parser.add_argument("--moe", action="store_true",
                        help="train part 5's model of experts too (default: off)")
    parser.add_argument("--jobs", type=int, default=None, metavar="N",
                        help="stages that run side by side (default: 2 on a CPU of two cores or more, "
                             "else 1)")
    parser.add_argument("--report", action="store_true",
                        help="train nothing, report on what is there (default: off)")
    return parser.parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    if not 1 <= args.seeds <= 100:
        raise ValueError(f"--seeds {args.seeds}: must be from 1 to 100")
    jobs = jobs_of(args)
    wanted = tuple(name for name in ("gpt", "moe") if getattr(args, name))
    stages = choose(STAGES, args.first, args.only, wanted)
    chains, start = chains_of(args), time.time()
    with only_one(chains[0].home) as lock, stopped_like_ctrl_c():
        if not args.report:
            show_plan(chains, stages, jobs)
            for chain in chains:
                run_chain(chain, stages, jobs, lock)
        write_report(chains)
    print(f"{time.time() - start:.0f} seconds")


if __name__ == "__main__":
    run_main(main)
