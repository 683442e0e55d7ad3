"""Stages side by side: which may begin, what they may use, what is seen of them, how they stop."""

import os
import signal
import threading
import time

import at_work
import pipeline
import pytest

MEETING = '''
import argparse, json, os, pathlib, signal, sys, time
parser = argparse.ArgumentParser()
for flag in ("--seed", "--out", "--name", "--base", "--meets"):
    parser.add_argument(flag)
parser.add_argument("--waits", action="store_true")
parser.add_argument("--fails", action="store_true")
parser.add_argument("--stops", action="store_true")
parser.add_argument("--resume", action="store_true")
args = parser.parse_args()
out = pathlib.Path(args.out)
out.mkdir(parents=True, exist_ok=True)
def save(number, frame):
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a second one ends it at once
    time.sleep(1.0 if args.name == "two" else 0.0)
    (out / f"{args.name}.saved").write_text("half of it")
    sys.exit(130)
signal.signal(signal.SIGINT, save)
(out / f"{args.name}.began").write_text(os.environ.get("OMP_NUM_THREADS", "all"))
print(f"{args.name} speaks\\nold bar\\rnew bar")
until = time.time() + 20
if args.meets:  # goes on only where the other has begun, or ended, too
    part, file = args.meets.split("/")
    while not (out.parent.parent / part / "out" / file).exists():
        if time.time() > until:
            raise SystemExit("error: nobody came")
        time.sleep(0.01)
    time.sleep(0 if file.endswith(".began") else 0.5)
if args.fails:
    (out / f"{args.name}.failed").write_text("")
    raise SystemExit("error: failed on purpose")
if args.stops:
    save(0, None)
if args.waits and not args.resume:
    time.sleep(60)
(out / f"{args.name}.pt").write_text("weights")
(out / f"{args.name}.json").write_text(json.dumps({"name": args.name, "metrics": {"loss": 1.0}}))
'''


@pytest.fixture
def meeting(house):
    """stage(part, name, *flags, needs=a stage): one that can wait until another has begun."""
    for part in ("part_1", "part_2", "part_4", "part_6"):
        (house.root / part / "make.py").write_text(MEETING)

    def stage(part, name, *flags, needs=None, resume=()):
        return pipeline.Stage(name=name, title=name, script=f"{part}/make.py", seconds={"quick": 1.0},
                              flags={"quick": ("--name", name, *flags)}, summary="loss {loss}",
                              inputs={"--base": needs.checkpoint} if needs else {}, resume=resume)

    house.meet = stage
    house.began = lambda stage: (house.root / stage.part / "out" / f"{stage.name}.began").read_text()
    return house


def run(house, stages, jobs=2, **more):
    told = []
    at_work.run_stages(stages, house.chain(), jobs, None,
                       lambda stage, log: told.append((stage.name, log is not None)),
                       lambda stage, results: told.append((stage.name, results["metrics"]["loss"])))
    return told


def test_stages_that_need_each_other_not_run_side_by_side(meeting):
    one = meeting.meet("part_1", "one", "--meets", "part_2/two.began")
    two = meeting.meet("part_2", "two", "--meets", "part_1/one.began")
    told = run(meeting, [one, two])
    assert told[:2] == [("one", False), ("two", True)]  # the second has a log
    assert sorted(told[2:]) == [("one", 1.0), ("two", 1.0)]


def test_one_job_is_one_after_the_other(meeting):
    one, two = meeting.meet("part_1", "one"), meeting.meet("part_2", "two")
    assert run(meeting, [one, two], jobs=1) == [("one", False), ("one", 1.0),
                                                ("two", False), ("two", 1.0)]


def test_a_stage_begins_after_those_that_it_needs_and_none_shares_a_folder(meeting):
    base = meeting.meet("part_1", "base")
    tuned = meeting.meet("part_2", "tuned", needs=base)
    beside = meeting.meet("part_2", "beside")
    other = meeting.meet("part_4", "other")
    left = [base, tuned, beside, other]
    assert at_work.next_stage(left, []) == base
    assert at_work.next_stage([tuned, beside, other], [base]) == other
    assert at_work.next_stage([beside], [tuned]) is None  # both write in part_2's folder
    assert at_work.next_stage([tuned], [other]) == tuned
    told = [name for name, what in run(meeting, [base, tuned, beside]) if isinstance(what, bool)]
    assert told == ["base", "tuned", "beside"]


def test_a_stage_beside_others_has_its_share_of_the_threads_and_one_alone_has_all(meeting, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(at_work, "cores", lambda: 6)
    base = meeting.meet("part_1", "base")
    one = meeting.meet("part_2", "one", "--meets", "part_4/two.began", needs=base)
    two = meeting.meet("part_4", "two", "--meets", "part_2/one.began", needs=base)
    run(meeting, [base, one, two])
    assert [meeting.began(stage) for stage in (base, one, two)] == ["all", "3", "3"]
    again = meeting.meet("part_4", "two", needs=base)  # other flags: it alone runs anew
    run(meeting, [base, one, again])
    assert meeting.began(again) == "all"


def test_threads_that_the_user_has_set_are_left(meeting, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    one, two = meeting.meet("part_1", "one"), meeting.meet("part_2", "two")
    run(meeting, [one, two])
    assert meeting.began(one) == meeting.began(two) == "5"


def test_what_a_stage_with_a_log_says_is_shown_at_its_end_without_old_bars(meeting, capfd):
    one = meeting.meet("part_1", "one", "--meets", "part_2/two.json")  # ends after it
    two = meeting.meet("part_2", "two")
    run(meeting, [one, two])
    assert "\n-- two, what it says\ntwo speaks\nnew bar\n" in capfd.readouterr().out
    assert (meeting.root / "home" / "two.log").read_bytes() == b"two speaks\nold bar\rnew bar\n"
    assert not (meeting.root / "home" / "one.log").exists()


def test_what_a_stage_with_a_log_says_is_seen_as_soon_as_it_works_alone(meeting, capfd):
    one = meeting.meet("part_1", "one", "--meets", "part_2/two.began")
    two = meeting.meet("part_2", "two", "--meets", "part_1/one.json")
    run(meeting, [one, two])
    assert capfd.readouterr().out.count("-- two, what it says\ntwo speaks\nold bar\rnew bar\n") == 1


def test_where_one_fails_the_others_end_and_no_other_begins(meeting, capsys):
    one = meeting.meet("part_1", "one", "--fails", "--meets", "part_2/two.began")
    two = meeting.meet("part_2", "two", "--meets", "part_1/one.failed")
    three = meeting.meet("part_4", "three")
    with pytest.raises(ValueError, match="stage one ended with status 1.*goes on from one"):
        run(meeting, [one, two, three])
    chain = meeting.chain()
    assert pipeline.is_done(two, chain) and not pipeline.is_done(one, chain)
    assert not (meeting.root / "part_4" / "out").exists()
    assert "waiting for two, which is at work" in capsys.readouterr().out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_lets_all_stages_save_and_the_next_start_resumes_them(meeting, number):
    stages = [meeting.meet(part, name, "--waits", resume=("--resume",))
              for part, name in (("part_1", "one"), ("part_2", "two"))]
    outs = [meeting.root / stage.part / "out" for stage in stages]

    def stop():
        until = time.time() + 60
        while (not all((out / f"{stage.name}.began").exists() for out, stage in zip(outs, stages))
               and time.time() < until):
            time.sleep(0.02)
        os.kill(os.getpid(), number)

    threading.Thread(target=stop, daemon=True).start()
    with pytest.raises(KeyboardInterrupt), pipeline.stopped_like_ctrl_c():
        run(meeting, stages)
    assert all((out / f"{stage.name}.saved").exists() for out, stage in zip(outs, stages))
    assert all(pipeline.can_go_on(stage, meeting.chain()) for stage in stages)
    run(meeting, stages)
    assert all(pipeline.is_done(stage, meeting.chain()) for stage in stages)


def test_where_one_is_stopped_by_itself_the_others_are_stopped_too(meeting):
    one = meeting.meet("part_1", "one", "--stops", "--meets", "part_2/two.began")
    two = meeting.meet("part_2", "two", "--waits")
    with pytest.raises(KeyboardInterrupt):
        run(meeting, [one, two])
    assert (meeting.root / "part_2" / "out" / "two.saved").exists()


def test_an_error_of_our_own_leaves_no_stage_at_work(meeting):
    one = meeting.meet("part_1", "one", "--meets", "part_2/two.began")
    two = meeting.meet("part_2", "two", "--waits")

    def ends(stage, results):
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        at_work.run_stages([one, two], meeting.chain(), 2, ends=ends)
    assert (meeting.root / "part_2" / "out" / "two.saved").exists()


def test_the_lock_names_every_stage_at_work(meeting):
    one = meeting.meet("part_1", "one", "--meets", "part_2/two.began")
    two = meeting.meet("part_2", "two")
    lock = meeting.root / "home" / "pipeline.lock"
    at_work.run_stages([one, two], meeting.chain(), 2, lock)
    numbers = lock.read_text().split()
    assert len(set(numbers)) == 3 and numbers[0] == str(os.getpid())


def test_how_long_stages_take_side_by_side_by_hand(meeting):
    base = meeting.meet("part_1", "base")
    one, two = meeting.meet("part_2", "one", needs=base), meeting.meet("part_4", "two", needs=base)
    last = meeting.meet("part_2", "last", needs=one)
    stages, seconds = [base, one, last, two], {"base": 10, "one": 5, "two": 7, "last": 1}
    assert at_work.seconds_of(stages, seconds, 1) == 23
    assert at_work.seconds_of(stages, seconds, 2) == 17  # two takes longer than one and last
    assert at_work.seconds_of([one, last], seconds, 2) == 6
    assert at_work.seconds_of([], {}, 2) == 0
