"""Write the missing piece yourself, and be told which mistake you made.

    python part_0/practice.py list [3]       what can be practised, and how your attempts stand
    python part_0/practice.py start 3.2      a folder of your own: part 3 with RoPE left to write
    python part_0/practice.py check 3.2      right? If not: what is wrong, and which mistake it is
    python part_0/practice.py hint 3.2       one line more each time
    python part_0/practice.py solution 3.2   your attempt beside the part's code; it asks first
    python part_0/practice.py demo 3.2       the lesson's demo, run on your code

Attempts lie in practice/ beside the parts (ignored by git), or where --to says (lesson 0.3).
"""

from before_torch import run_main

# before_torch comes first: Ctrl-C while the rest is being imported ends quietly
# isort: split
import argparse
import os
import subprocess
import sys

from practice_room.attempt import (
    files_of,
    folder_of,
    read_state,
    save_state,
    solution,
    stamp,
    start,
    started,
)
from practice_room.catalogue import all_topics, topic_of
from practice_room.checking import check, read_fingerprints, tests_of
from practice_room.diagnosis import diagnose
from practice_room.screens import nice, say, show_list, show_result, show_started, unwritten
from practice_room.topics import Topic

ACTIONS = ("list", "start", "check", "hint", "solution", "demo")


def state_of(topic: Topic) -> str:
    """"", open, failing, passed; with a star where the files changed since the last check."""
    folder = folder_of(topic, None)
    state = read_state(folder)
    if state is None:
        return ""
    try:
        changed = state.get("stamp") not in (None, stamp(files_of(topic, folder)))
    except OSError:
        return "damaged"
    return state["verdict"] + ("*" if changed else "")


def list_topics(args) -> int:
    wanted = args.topic or ""
    topics = [topic for topic in all_topics().values() if topic.name.startswith(wanted)]
    if not topics:
        raise ValueError(f"no topic begins with {wanted!r}: give a part, 1 to 9, or nothing")
    show_list(topics, state_of)
    if any(state_of(topic).endswith("*") for topic in topics):
        print("\n* changed since the last check")
    return 0


def start_attempt(args) -> int:
    topic, folder = topic_of(args.topic), folder_of(topic_of(args.topic), args.to)
    show_started(topic, start(topic, folder, args.steps), folder)
    return 0


def check_attempt(args) -> int:
    topic, folder = topic_of(args.topic), folder_of(topic_of(args.topic), args.to)
    state = started(topic, folder)
    files = files_of(topic, folder)
    result = check(topic, files, tests_of(topic), args.stalled)
    known, diagnosis = read_fingerprints().get(topic.name), None
    left = unwritten(result)
    if known and not (result.passed or result.syntax or result.cheats or left):
        diagnosis = diagnose(result, known)
    show_result(topic, result, diagnosis)
    if left:
        say("to write", ", ".join(left))
    verdict = "passed" if result.passed else "failing"
    save_state(folder, state | {"verdict": verdict, "stamp": stamp(files)})
    return 0 if result.passed else 1


def give_hint(args) -> int:
    topic, folder = topic_of(args.topic), folder_of(topic_of(args.topic), args.to)
    state = started(topic, folder)
    lines = topic.hint_lines
    count = min(state["hints"] + 1, len(lines))
    save_state(folder, state | {"hints": count})
    for i, (function, line) in enumerate(lines[:count], 1):
        say(f"{i} of {len(lines)}", f"{function}: {line}")
    if state["hints"] == len(lines):
        say("", f"that was all; what is left is:\npython part_0/practice.py solution {topic.name}")
    return 0


def show_solution(args) -> int:
    topic, folder = topic_of(args.topic), folder_of(topic_of(args.topic), args.to)
    started(topic, folder)
    if not args.yes:
        print(f"Show the solution of {topic.name}? What you find yourself stays longer. [y/N] ",
              end="", flush=True)
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            print("not shown")
            return 0
    print(solution(topic, folder) or "your functions are those of the part, to the letter")
    return 0


def run_demo(args) -> int:
    topic, folder = topic_of(args.topic), folder_of(topic_of(args.topic), args.to)
    started(topic, folder)
    if not topic.demo:
        raise ValueError(f"the topic {topic.name} has no demo; check it instead")
    script, *flags = topic.demo
    out = folder / "out"
    command = [sys.executable, str(folder / topic.part / script), *flags, "--out", str(out)]
    print(f"running {script} on the code in {nice(folder / topic.part)}", flush=True)
    return subprocess.run(command, check=False, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
                          ).returncode


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=ACTIONS, help="what to do, see above")
    parser.add_argument("topic", nargs="?", help="a topic such as 3.2; for list: a part (all)")
    parser.add_argument("--to", help="the folder of the attempt (default: practice/<topic>)")
    parser.add_argument("--steps", action="store_true",
                        help="start: leave a skeleton of comments (default: off, from empty)")
    parser.add_argument("--yes", action="store_true", help="solution: do not ask (default: off)")
    parser.add_argument("--stalled", type=float, default=20,
                        help="check: seconds without progress that count as hanging (default: 20)")
    args = parser.parse_args(argv)
    if args.action != "list" and not args.topic:
        parser.error(f"{args.action} needs a topic; practice.py list shows them")
    return args


def main(argv=None) -> int:
    args = parse_args(argv)
    actions = dict(zip(ACTIONS, (list_topics, start_attempt, check_attempt, give_hint,
                                 show_solution, run_demo)))
    try:
        return actions[args.action](args)
    except BrokenPipeError:  # the reader left, as `head` does
        raise
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    run_main(lambda: sys.exit(main()))
