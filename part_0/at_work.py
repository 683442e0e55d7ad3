"""Stages at work: a process each, two side by side where neither needs what the other makes.

Idea    The layers of a small model are too small to share: two threads of one stage wait for each
        other much of the time. Two stages with a thread each take less time than one after the
        other, and gave the same numbers to the bit (lesson 0.1).
Used    demo_pipeline.py
"""

import os
import re
import signal
import subprocess
import time
from pathlib import Path

from before_torch import cores
from pipeline import (
    Chain,
    Stage,
    can_go_on,
    command_of,
    is_done,
    key_of,
    load_json,
    note_of,
    write_note,
)

PAUSE = 0.03  # seconds between two looks at the processes
OWN_GROUP = os.name == "posix"


def stamp(path: Path) -> tuple:
    """Changes whenever a file is written anew."""
    return (path.stat().st_mtime_ns, path.stat().st_ino) if path.is_file() else ()


# ---------------------------------------------------------------- one stage

class Work:
    """A stage in a process of its own, from its beginning to `finish`.

    An unfinished attempt of ours is gone on with, or cleared away where the settings have changed;
    one that somebody else left is not: the script says so, and refuses.
    threads  how many it may use, unless the environment says that; None: all
    log      a file for what it says; None: its progress bar goes to our terminal
    """

    def __init__(self, stage: Stage, chain: Chain, threads: int | None = None,
                 log: Path | None = None):
        self.stage, self.chain, self.log, self.shown = stage, chain, log, 0
        goes_on, note = can_go_on(stage, chain), note_of(stage, chain)
        self.key = key_of(stage, chain)
        self.spent, self.took = note.get("spent", 0.0) if goes_on else 0.0, note.get("took", {})
        more = stage.resume if goes_on else stage.fresh if "started" in note else ()
        self.before, self.start = stamp(chain.result(stage)), time.time()
        self.write_down({"started": self.key, "spent": self.spent})
        environment = dict(os.environ)
        if threads:
            environment.setdefault("OMP_NUM_THREADS", str(threads))
        output = None
        if log:
            environment["PYTHONUNBUFFERED"] = "1"  # so that its words stand there in their order
            output = open(log, "wb")
        # a process group of its own: one Ctrl-C reaches it once, through us
        self.process = subprocess.Popen(command_of(stage, chain, more), env=environment, stdout=output,
                                        stderr=output, process_group=0 if OWN_GROUP else None)
        if output:
            output.close()

    def write_down(self, note: dict) -> None:
        write_note(self.stage, self.chain, {**note, "took": self.took})

    def stop(self, at_once: bool) -> None:
        """Let it save and end."""
        if OWN_GROUP and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL if at_once else signal.SIGINT)

    def show(self, bars: bool) -> None:
        """What it has said in its log since the last look. `bars`: with what was written over, too."""
        with open(self.log, "rb") as file:
            file.seek(self.shown)
            new = file.read()
        if new and not self.shown:
            print(f"-- {self.stage.name}, what it says", flush=True)
        self.shown += len(new)
        text = new.decode(errors="replace")
        print(text if bars else re.sub(r"[^\n]*\r(?!\n)", "", text), end="", flush=True)

    def finish(self, is_stopped: bool = False) -> dict:
        """After the end of its process: write down that it is done -> its results.

        Raises ValueError with the way out when it failed, KeyboardInterrupt when it was stopped.
        """
        stage, chain, status = self.stage, self.chain, self.process.wait()
        self.spent += time.time() - self.start
        self.write_down({"started": self.key, "spent": self.spent})
        if is_stopped or status in (130, -signal.SIGINT):
            raise KeyboardInterrupt
        if status != 0:
            if status == 2:  # it refused: what it saved is not gone on with
                self.write_down({"started": ""})
            raise ValueError(f"stage {stage.name} ended with status {status}; its message is above. "
                             f"After mending it, the same command goes on from {stage.name}")
        results = load_json(chain.result(stage))
        if stamp(chain.result(stage)) == self.before or "metrics" not in results:
            raise ValueError(f"stage {stage.name} was stopped before its end: it left no new "
                             f"{chain.result(stage)}; the same command goes on from {stage.name}")
        self.took = {**self.took, " ".join(stage.flags[chain.preset]): round(self.spent, 3)}
        self.write_down({"key": self.key, "preset": chain.preset, "seed": chain.seed,
                         "wall_seconds": round(self.spent, 3), "ended": round(time.time(), 3),
                         "results": results})
        return results


# ---------------------------------------------------------------- which may begin

def needs(stage: Stage, other: Stage) -> bool:
    """Does a stage read what another makes, or write in the folder that it writes in?"""
    return other.checkpoint in stage.inputs.values() or other.part == stage.part


def next_stage(left: list[Stage], busy: list[Stage]) -> Stage | None:
    """The first of the stages left that needs none before it, and none at work."""
    for number, stage in enumerate(left):
        if not any(needs(stage, other) for other in [*busy, *left[:number]]):
            return stage
    return None


def is_alone(stage: Stage, left: list[Stage], busy: list[Stage]) -> bool:
    """True where nothing runs beside a stage that begins now: all that is left waits for it."""
    return not busy and next_stage(left, [stage]) is None


def seconds_of(stages: list[Stage], seconds: dict[str, float], jobs: int) -> float:
    """How long the stages take from the first beginning to the last end, as `run_stages` runs them."""
    left, ends, now = list(stages), {}, 0.0  # ends: name -> when it will
    while left or ends:
        busy = [stage for stage in stages if stage.name in ends]
        if len(busy) < jobs and (stage := next_stage(left, busy)):
            left.remove(stage)
            ends[stage.name] = now + seconds[stage.name]
        else:
            first = min(ends, key=ends.get)
            now = ends.pop(first)
    return now


# ---------------------------------------------------------------- all of them

def first_to_end(busy: list[Work]) -> Work:
    """Wait until one of the processes has ended. Who works alone is seen at work."""
    while True:
        for work in busy:
            if work.process.poll() is not None:
                return work
        if all(work.log for work in busy):
            busy[0].show(bars=True)
        time.sleep(PAUSE)


def begin_more(left: list[Stage], busy: list[Work], chain: Chain, jobs: int, lock: Path | None,
               begins, ends) -> None:
    """Begin the stages that may begin now: they move from `left` to `busy`. What is done already is
    only told."""
    while len(busy) < jobs and (stage := next_stage(left, [work.stage for work in busy])):
        left.remove(stage)
        if is_done(stage, chain):
            ends(stage, load_json(chain.result(stage)))
            continue
        to_run = [other for other in left if not is_done(other, chain)]
        alone = jobs == 1 or is_alone(stage, to_run, [work.stage for work in busy])
        is_seen = all(work.log for work in busy)  # one at a time has the terminal
        log = None if is_seen else chain.home / f"{stage.name}.log"
        begins(stage, log)
        busy.append(Work(stage, chain, None if alone else max(1, cores() // jobs), log))
        if lock is not None:
            numbers = [os.getpid(), *(work.process.pid for work in busy)]
            lock.write_text(" ".join(map(str, numbers)), encoding="utf-8")


def run_stages(stages: list[Stage], chain: Chain, jobs: int = 1, lock: Path | None = None,
               begins=lambda stage, log: None, ends=lambda stage, results: None) -> None:
    """Run all stages that are not done, at most `jobs` at once, each after those that it needs.

    begins(stage, log)      is called before a stage begins; `log`: where its words go, or None
    ends(stage, results)    when it has ended, or is done already
    lock                    the file that names who works here
    Every Ctrl-C is handed on: at the first the stages save and end, at the second they end at once;
    a third kills them. Where one fails, no other begins; those at work end first.
    Raises as `Work.finish` does.
    """
    left, busy, trouble, stops = list(stages), [], None, 0
    try:
        while busy or (left and trouble is None):
            try:
                if trouble is None:
                    begin_more(left, busy, chain, jobs, lock, begins, ends)
                if not busy:  # all was done already
                    break
                work = first_to_end(busy)
            except KeyboardInterrupt as stop:
                stops, trouble = stops + 1, stop
                print("\nstopping: the stage saves first (Ctrl-C again: at once)", flush=True)
                for work in busy:
                    work.stop(at_once=stops > 2)
                continue
            busy.remove(work)
            if work.log:
                print(flush=True)
                work.show(bars=False)
            try:
                ends(work.stage, work.finish(stops > 0))
            except KeyboardInterrupt as error:
                if trouble is None:  # it had a Ctrl-C of its own; of ours the others know
                    for other in busy:
                        other.stop(at_once=False)
                trouble = trouble or error
            except ValueError as error:
                trouble = trouble or error
                for other in busy:
                    print(f"\n{error}\nwaiting for {other.stage.name}, which is at work "
                          "(Ctrl-C: it saves and ends)", flush=True)
    finally:
        for work in busy:  # none, but after an error of ours: it saves and ends
            work.stop(at_once=False)
            work.process.wait()
    if trouble is not None:
        raise trouble
