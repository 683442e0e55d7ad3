"""Make the figures of released mixtures again. Run by hand; the tests only read what it wrote.

    pip install torch transformers tiktoken
    python tests/part_5/data/make_released.py

released.json  for each folder of tests/mixture_folders.py what `transformers` says: ids of texts and
               conversations, some logits, 64 greedy tokens; and the same of folders that our export
               has written, of these models ("again_…") and of our own ("own_…"), with checksums
"""

import importlib.util
import json
import sys
import tempfile
from pathlib import Path

DATA = Path(__file__).resolve().parent
TESTS = DATA.parent.parent


def make_figures() -> dict:
    from mixture_folders import MIXTURES, make_mixture, own_mixtures
    from pretrained.export import export_model
    from run.checkpoint import load_checkpoint

    spec = importlib.util.spec_from_file_location("dense", TESTS / "part_4/data/make_released.py")
    dense = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(dense)
    found = {}
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        for name, entry in MIXTURES.items():
            has_chats, out = entry[2] is not None, scratch / f"again_{name}"
            folder = make_mixture(scratch / name, name)
            found[name] = dense.figures(folder, chats=has_chats)
            export_model(*load_checkpoint(folder)[:2], out)
            again = dense.figures(out, chats=has_chats)
            assert again == found[name], f"{name}: what we wrote is another model"
            found[f"again_{name}"] = {"files": dense.checksums(out)}
        for name, (model, tokenizer) in own_mixtures().items():
            out = scratch / f"own_{name}"
            export_model(model, tokenizer, out)
            found[f"own_{name}"] = dense.figures(out, chats="roles" in name) | {
                "files": dense.checksums(out)}
    return found


if __name__ == "__main__":
    sys.path[:0] = [str(TESTS.parent / "part_5"), str(TESTS)]
    (DATA / "released.json").write_text(json.dumps(make_figures(), separators=(",", ":")) + "\n",
                                        encoding="utf-8")
    print((DATA / "released.json").stat().st_size, "bytes")
