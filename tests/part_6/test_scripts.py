"""The scripts as a person runs them: a whole tiny run, stop and resume, files, mistakes."""

import json
from types import SimpleNamespace

import pytest
import torch
import train_sft
from run.checkpoint import load_checkpoint, save_checkpoint
from sft.chat_format import Message

pytestmark = pytest.mark.scripts
SMALL = ("--examples", 80, "--steps", 6, "--rows", 4, "--eval-every", 3, "--amp", "float32",
         "--no-tensorboard")


def weights(path):
    return load_checkpoint(path)[0].state_dict()


def equal(a, b):
    return all(torch.equal(a[name], b[name]) for name in a)


def test_a_run_leaves_a_model_results_and_pictures(run_script, tiny_base, tmp_path):
    done = run_script("part_6/train_sft.py", *SMALL, "--base", tiny_base, "--eval-items", 21,
                      "--out", tmp_path / "o")
    results = json.loads((tmp_path / "o" / "sft.json").read_text())
    metrics = results["metrics"]
    assert results["name"] == "sft" and results["tokens"] == 6 * 4 * 128
    assert set(metrics["exact_match"]) == {"new_items", "new_wordings", "new_combinations"}
    assert {"base_exact_match", "by_skill", "end_rate", "val_loss"} <= set(metrics)
    for name in ("sft.png", "sft_skills.png"):
        assert (tmp_path / "o" / name).read_bytes().startswith(b"\x89PNG")
    assert "skipped" in done.stdout, "what was left out is shown"
    run_script("part_6/evaluate.py", "--checkpoint", tmp_path / "o" / "sft.pt", "--items", 6,
               "--amp", "float32", "--out", tmp_path / "e")
    assert (tmp_path / "e" / "evaluate.json").exists()
    said = run_script("part_6/chat.py", "--checkpoint", tmp_path / "o" / "sft.pt", "--longest", 4,
                      input="Hello.\n/temperature 0.5\n/oops\nWhat?\n")
    assert "temperature 0.5" in said.stdout and "/oops: unknown" in said.stderr
    run_script("part_6/demo_before_after.py", "--base", tiny_base, "--checkpoint",
               tmp_path / "o" / "sft.pt", "--amp", "float32", "--out", tmp_path / "d")
    assert (tmp_path / "d" / "before_after.png").exists()


def test_a_stopped_run_goes_on_to_the_very_same_weights(run_script, tiny_base, tmp_path):
    common = (*SMALL, "--base", tiny_base, "--eval-items", 0)
    run_script("part_6/train_sft.py", *common, "--out", tmp_path / "a")
    run_script("part_6/train_sft.py", *common, "--out", tmp_path / "b", "--stop-at", 4)
    assert not (tmp_path / "b" / "sft.pt").exists()
    refused = run_script("part_6/train_sft.py", *common, "--out", tmp_path / "b", "--resume",
                         "--peak", 0.1, check=False)
    assert refused.returncode == 2 and "peak: was 0.001, now 0.1" in refused.stderr
    run_script("part_6/train_sft.py", *common, "--out", tmp_path / "b", "--resume")
    assert equal(weights(tmp_path / "a" / "sft.pt"), weights(tmp_path / "b" / "sft.pt"))
    straight, resumed = ((tmp_path / name / "log.jsonl").read_bytes() for name in "ab")
    assert straight == resumed


def test_files_of_ones_own_are_learnt_and_measured(run_script, tiny_base, tmp_path):
    records = [{"instruction": f"What is {a} + 1?", "input": "", "output": str(a + 1)}
               for a in range(30)] + [{"instruction": "Say nothing.", "output": ""}]
    (tmp_path / "a.json").write_text(json.dumps(records))
    done = run_script("part_6/train_sft.py", *SMALL, "--base", tiny_base, "--data",
                      tmp_path / "a.json", "--lora", 4, "--out", tmp_path / "o")
    assert "record 31: an empty text" in done.stdout
    metrics = json.loads((tmp_path / "o" / "sft.json").read_text())["metrics"]
    assert metrics["held_out"] == 3 and 0 <= metrics["exact_match"]["file"] <= 1
    assert set(weights(tmp_path / "o" / "sft.pt")) == set(weights(tiny_base)), "LoRA is merged"


@pytest.mark.parametrize("flags, message", [
    (("--base", "nowhere.pt"), "make it with: python part_4/train.py"),
    (("--data", "nowhere.json"), "there is no such file"),
    (("--order", "backwards"), "by_difficulty"),
    (("--steps", 0), "--steps 0: must be at least 1"),
])
def test_mistakes_end_in_one_line(run_script, tiny_base, flags, message):
    base = () if "--base" in flags else ("--base", tiny_base)
    done = run_script("part_6/train_sft.py", *SMALL, *base, *flags, check=False)
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("demo, flags", [
    ("demo_label_mask", ("--steps", "-1")), ("demo_label_mask", ("--steps", "0")),
    ("demo_packing", ("--examples", "0")), ("demo_packing", ("--examples", "-1")),
    ("demo_curriculum", ("--lora", "-1")), ("evaluate", ("--show", "-1"))])
def test_a_demo_of_nothing_is_refused(demo, flags):
    with pytest.raises(ValueError, match=" ".join(flags)):
        __import__(demo).main(list(flags))


def test_a_base_whose_tokenizer_does_not_fit_is_refused(run_script, tiny_base, tmp_path):
    checkpoint = torch.load(tiny_base, weights_only=True)
    checkpoint["tokenizer"]["special"]["<|more|>"] = 500
    torch.save(checkpoint, tmp_path / "odd.pt")
    done = run_script("part_6/train_sft.py", *SMALL, "--base", tmp_path / "odd.pt", check=False)
    assert done.returncode == 2 and "its tokenizer 501" in done.stderr


@pytest.mark.parametrize("demo, flags", [
    ("demo_label_mask", ("--base",)), ("demo_packing", ()), ("demo_curriculum", ("--base",))])
def test_demos_run_and_draw(run_script, tiny_base, tmp_path, demo, flags):
    extra = ("--base", tiny_base, "--amp", "float32") if flags else ()
    run_script(f"part_6/{demo}.py", "--quick", *extra, "--out", tmp_path)
    assert (tmp_path / f"{demo.removeprefix('demo_')}.png").exists()


def test_a_conversation_that_does_not_fit_is_left_out_of_the_comparison(tmp_path, capsys):
    packing = __import__("demo_packing")
    packing.main(["--examples", "17", "--out", str(tmp_path)])  # the 17th would begin a batch
    assert "16 conversations" in capsys.readouterr().out
    with pytest.raises(ValueError, match="--examples 1: none of them fits in 256 tokens"):
        packing.main(["--examples", "1", "--seed", "24", "--out", str(tmp_path)])


# ---------------------------------------------------------------- what the flags change

@pytest.fixture
def tiny_chat(loaded, tmp_path):
    """A chat model that has learnt nothing."""
    model, tokenizer = loaded
    save_checkpoint(tmp_path / "chat.pt", weights=model.state_dict(), config=model.config,
                    tokenizer=tokenizer, step=0, settings={}, metrics={})
    return tmp_path / "chat.pt"


def test_one_question_is_answered_at_the_asked_temperature(run_script, tiny_chat):
    def said(*flags, input="Hello.\n"):
        return run_script("part_6/chat.py", "--checkpoint", tiny_chat, "--longest", 8, *flags,
                          input=input).stdout

    greedy = said()
    assert greedy == said("--temperature", 0, "--seed", 3)
    assert greedy == said("--prompt", "Hello.", input="What is 3 + 4?\n"), "then the chat leaves"
    warm = said("--temperature", 1.5, "--seed", 3)
    assert warm == said("--temperature", 1.5, "--seed", 3) != greedy
    assert warm != said("--temperature", 1.5, "--seed", 4)


def test_the_system_line_opens_the_conversation(run_script, tiny_chat, tmp_path):
    run_script("part_6/chat.py", "--checkpoint", tiny_chat, "--longest", 8, "--system", "Be brief.",
               "--temperature", 1.5, input="Hello.\n/save kept.jsonl\n")
    kept = json.loads((tmp_path / "kept.jsonl").read_text())["messages"]
    assert [m["content"] for m in kept][:2] == ["Be brief.", "Hello."]
    assert [m["role"] for m in kept] == ["system", "user", "assistant"]


def test_as_many_items_are_asked_and_mistakes_shown_as_the_flags_say(run_script, tiny_chat,
                                                                     tmp_path):
    common = ("part_6/evaluate.py", "--checkpoint", tiny_chat, "--amp", "float32")
    done = run_script(*common, "--items", 5, "--show", 2, "--out", tmp_path)
    assert "5 questions a split" in done.stdout
    assert done.stdout.count("\nwrong   ") == 3 * 2, "two of each split: it has learnt nothing"
    done = run_script(*common, "--items", 5, "--splits", "new_wordings", "--out", tmp_path)
    assert list(json.loads((tmp_path / "evaluate.json").read_text())) == ["new_wordings"]
    chats = [{"instruction": f"What is {n} + 1?", "input": "", "output": str(n + 1)}
             for n in range(3)]
    (tmp_path / "chats.json").write_text(json.dumps(chats))
    done = run_script(*common, "--data", tmp_path / "chats.json", "--show", 1)
    assert done.stdout.count("\nasked   ") == 1 and "conversations" in done.stdout


def test_replies_to_ones_own_chats_are_as_long_as_asked_for(loaded, runtime, monkeypatch, tmp_path):
    import evaluate
    from sft import report as sft_report

    seen = []
    monkeypatch.setattr("sft.evaluation.generate", lambda model, prompts, room, **options: seen.append(
        room) or [[5] * room for _ in prompts])
    (tmp_path / "c.jsonl").write_text(json.dumps({"instruction": "Hi", "output": "Hello"}))
    evaluate.on_conversations(*loaded, runtime, tmp_path / "c.jsonl", 0, 77)
    assert seen == [77]
    assert evaluate.parse_args([]).longest is train_sft.parse_args([]).longest is None
    run = SimpleNamespace(model=loaded[0], tokenizer=loaded[1], runtime=runtime,
                          args=train_sft.parse_args(["--longest", "88", "--data", "c.jsonl"]),
                          held_out_chats=[[Message("user", "Hi"), Message("assistant", "Hello")]],
                          division={})
    sft_report.file_metrics(run)
    assert seen == [77, 88]


def test_a_run_from_scratch_forgets_the_base(run_script, tiny_base, tmp_path):
    base = weights(tiny_base)["blocks.0.attention.qkv.weight"]
    for name, flags in (("tuned", ()), ("scratch", ("--from-scratch",))):
        run_script("part_6/train_sft.py", *SMALL, *flags, "--steps", 1, "--peak", 1e-12, "--muon",
                   0, "--base", tiny_base, "--eval-items", 0, "--out", tmp_path / name)
    tuned, scratch = (weights(tmp_path / name / "sft.pt")["blocks.0.attention.qkv.weight"]
                      for name in ("tuned", "scratch"))
    torch.testing.assert_close(tuned, base)
    assert (scratch - base).abs().max() > 0.01


def test_orders_are_compared_over_the_asked_seeds_and_questions(run_script, tiny_base, tmp_path):
    done = run_script("part_6/demo_curriculum.py", "--steps", 1, "--examples", 30, "--seeds", 2,
                      "--questions", 6, "--lora", 0, "--base", tiny_base, "--amp", "float32",
                      "--out", tmp_path)
    found = json.loads((tmp_path / "curriculum.json").read_text())
    assert {name: len(runs) for name, runs in found.items()} == {
        "mixed": 2, "by_difficulty": 2, "by_length": 2, "anti": 2}, "no LoRA"
    assert "1 steps, 2 seed(s), 6 new items" in done.stdout
