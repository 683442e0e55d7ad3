"""What the demos of part 4 compute: packed rows and who sees whom, and Muon's even updates."""

import demo_muon
import demo_packed_rows
import pytest
import torch


def test_the_packed_rows_hold_every_document_once_and_none_too_many():
    lengths, rows = demo_packed_rows.packed(seed=1)
    assert sorted(number for row in rows for number in row) == list(range(len(lengths)))
    assert all(sum(lengths[number] for number in row) <= demo_packed_rows.SIZE for row in rows)


def test_in_a_packed_row_a_document_sees_itself_alone():
    pairs = demo_packed_rows.visible_pairs([0, 1], [4, 3], every=1)
    assert pairs[:7, :7].astype(int).tolist() == [
        [1, 0, 0, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0, 0], [1, 1, 1, 0, 0, 0, 0], [1, 1, 1, 1, 0, 0, 0],
        [0, 0, 0, 0, 1, 0, 0], [0, 0, 0, 0, 1, 1, 0], [0, 0, 0, 0, 1, 1, 1]]


def test_muon_moves_a_matrix_along_all_directions_and_adamw_along_a_few():
    torch.set_num_threads(1)
    data, held_out = demo_muon.byte_rows(64, "train", 0), demo_muon.byte_rows(8, "validation", 0)
    spread = {name: demo_muon.train(name, 0.05, data, held_out, seed=0)["spread"]
              for name in ("AdamW, QK-norm", "Muon, QK-norm")}
    assert spread["Muon, QK-norm"] < 2 < 4 < spread["AdamW, QK-norm"]


def test_the_time_of_the_demo_is_the_users(run_script):
    done = run_script("part_4/demo_muon.py", "--seconds", 0, check=False)
    assert done.returncode == 2 and "--seconds 0" in done.stderr
    with pytest.raises(ValueError, match="--seconds -1"):
        demo_muon.parse_args(["--seconds", "-1"])
