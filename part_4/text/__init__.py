"""From texts to tokens, and from tokens to rows.

Explained   part 4: BPE (4.1), the data
Read        bpe.py, tokenizer.py; then rows.py. Beside them, where a part needs them: bpe_fast.py (the
            same merges, fast), tokenizer_files.py (tokenizers of others), sources.py,
            own_files.py, shards.py, data.py (what pretraining reads)
"""
