"""What training has freed goes back to the system before the model is measured."""

from types import SimpleNamespace

import pytest
from files import closing
from files.closing import measuring


def test_freed_memory_goes_back_before_measuring_begins(monkeypatch, tmp_path):
    done = []
    monkeypatch.setattr(closing.ctypes, "CDLL", lambda name: SimpleNamespace(
        malloc_trim=lambda pad: done.append(("given back", pad))))
    with measuring(tmp_path / "model.pt"):
        done.append("measured")
    assert done == [("given back", 0), "measured"]


@pytest.mark.parametrize("fault", [AttributeError, OSError, TypeError])
def test_where_the_c_library_cannot_give_back_the_model_is_measured_all_the_same(monkeypatch, tmp_path,
                                                                               fault):
    def missing(name):
        raise fault("no such library, or no malloc_trim in it")

    monkeypatch.setattr(closing.ctypes, "CDLL", missing)
    measured = []
    with measuring(tmp_path / "model.pt"):
        measured.append(True)
    assert measured
