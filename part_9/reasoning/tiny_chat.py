"""A tokenizer of single bytes with the roles: for quick forms of demos and for tests.

Used   demo_self_consistency.py --quick, demo_tool_use.py --quick
"""

from sft.chat_format import chat_tokenizer
from text.tokenizer import Tokenizer


def tiny_tokenizer() -> Tokenizer:
    """Bytes, no merges, the special tokens and the role tokens."""
    return chat_tokenizer(Tokenizer.from_merges([]))
