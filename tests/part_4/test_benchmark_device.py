"""4.2: what is measured on a device; a format that is off is named, and attention is counted rightly."""

import json

import benchmark_device
import pytest
import torch
from benchmark_device import QUICK, attention_rate, compare_formats, main

CPU = torch.device("cpu")


def test_formats_attention_and_decoding_are_measured(tmp_path, capsys):
    main(["--quick", "--device", "cpu", "--formats", "float32,bfloat16", "--out", str(tmp_path)])
    found = json.loads((tmp_path / "benchmark_device.json").read_text())
    assert [row["format"] for row in found["formats"]] == ["float32", "bfloat16"]
    assert found["formats"][0]["loss_apart"] == 0 < found["formats"][1]["loss_apart"] < 0.05
    assert all(row["tflops"] > 0 for row in found["attention"])
    assert [row["rows"] for row in found["decoding"]] == [1, 2] * 2
    with pytest.raises(ValueError, match="--formats float8: unknown"):
        main(["--formats", "float8"])


def test_a_format_that_is_further_away_than_it_may_be_ends_with_an_error(tmp_path, monkeypatch):
    monkeypatch.setitem(benchmark_device.BOUNDS, "bfloat16", (1e-9, 1e-9))
    with pytest.raises(ValueError, match="further from float32 .* bfloat16 .loss .*, gradient"):
        main(["--quick", "--device", "cpu", "--formats", "bfloat16", "--out", str(tmp_path)])
    assert (tmp_path / "benchmark_device.json").exists()


def test_the_gradient_of_float16_is_scaled_and_scaled_back(monkeypatch):
    """Without the scale small gradients are 0 in float16; without the way back all are too large."""
    rows = compare_formats(QUICK, CPU, ["float32", "float16"])
    assert all(row["agrees"] for row in rows)
    model = benchmark_device.GPT(QUICK["model"])
    ids = torch.arange(40).view(2, 20)
    norms = [benchmark_device.gradient(model, ids, benchmark_device.Runtime(CPU, kind, "", ""))[1].norm()
             for kind in (None, torch.float16)]
    assert float(norms[1] / norms[0]) == pytest.approx(1, abs=0.02)


def test_attention_counts_the_products_below_the_diagonal_forward_and_back(monkeypatch):
    monkeypatch.setattr(benchmark_device, "seconds_of", lambda function, *_: function() or 1.0)
    sizes = {**QUICK, "tokens": 12, "heads": 3}
    products = 2 * 2 * 3 * 6 * 6 * 64 * 2 / 2  # 2 rows, 3 heads, two products of 6 x 6 x 64, half
    assert attention_rate(6, torch.float32, sizes, CPU) == 3.5 * products
