"""Talk with the model that reasons, in a terminal; where it calls a tool, the call is shown.

    python part_9/chat.py --prompt "What is 12 + 9 - 4?"
    python part_9/chat.py --checkpoint part_9/out/tools.pt
    echo "With the calculator, please: What is 3 + 4 + 5?" | python part_9/chat.py

Commands while chatting:
    /reset            forget the conversation     /system TEXT      set the system line (and reset)
    /temperature 0.7  0: always the likeliest     /save FILE.jsonl  keep it in the chat format
    /help  /quit      Ctrl-C stops an answer, Ctrl-D leaves
When a conversation outgrows the model's context, its oldest turns are forgotten, and it says so.
"""

from run.runtime import choose_runtime, here, make_parser, run_main

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
import codecs
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from gpt.generate import stream
from gpt.sampling import check_sampling
from pretrained.chat_forms import CHOICES
from reasoning.evaluation import MAKE_WITH
from reasoning.tool_use import pending_call, result_ids, spoken
from reasoning.tools import RUN
from run.checkpoint import load_checkpoint
from run.thrift import rounded_once
from sft.chat_format import Message, encode_prompt, write_conversations
from sft.evaluation import is_chat_model

ROOM = 64  # tokens that are kept free for an answer
SMALL = 20_000_000  # parameters: up to here trying number formats takes longer than a short one saves
# NEW in part 9
MOST_CALLS = 4  # of tools in one answer


# CHANGED in part 9: the answer pauses where a tool is called, and goes on from its result
class Chat:
    """A conversation with a model: its turns, and how the next answer is drawn."""

    def __init__(self, model, tokenizer, runtime, *, system: str = "", temperature: float = 0.0,
                 longest: int = 240, seed: int = 0):
        check_sampling(temperature, None, None)
        if longest < 1:
            raise ValueError(f"--longest {longest}: must be at least 1")
        self.model, self.tokenizer, self.runtime = model, tokenizer, runtime
        self.system, self.temperature, self.longest = system, temperature, longest
        self.generator = torch.Generator().manual_seed(seed)
        self.turns: list[Message] = []
        self.forgotten = 0  # turns that no longer fit

    def messages(self) -> list[Message]:
        return [*([Message("system", self.system)] if self.system else []), *self.turns]

    def fit(self) -> list[int]:
        """The prompt; the oldest question and answer are forgotten until there is room to reply."""
        limit = self.model.config.block_size
        room = min(ROOM, self.longest, limit // 2)
        first = 1 if self.system else 0
        messages = self.messages()
        alone = encode_prompt([*messages[:first], messages[-1]], self.tokenizer)
        if len(alone) + room > limit + 1:
            raise ValueError(f"that is {len(alone)} tokens; with {room} for an answer the model's "
                             f"context holds {limit}: ask with fewer words")
        ids = encode_prompt(messages, self.tokenizer)
        while len(ids) + room > limit + 1:
            del self.turns[:2]
            self.forgotten += 2
            ids = encode_prompt(self.messages(), self.tokenizer)
        return ids

    def ask(self, text: str) -> Iterator[str]:
        """Yield the answer piece by piece. Question and answer join the conversation."""
        self.turns.append(Message("user", text))
        try:
            ids = self.fit()
        except ValueError:
            self.turns.pop()
            raise
        said: list[int] = []
        try:
            yield from self.answer(ids, said)
        finally:  # an answer that was broken off counts as said so far
            answer = self.spoken(said)
            if answer:
                self.turns.append(Message("assistant", answer))
            else:
                self.turns.pop()

    def spoken(self, said: list[int]) -> str:
        """What was said, without the calls: those are no text that anybody could type."""
        if RUN in self.tokenizer.special:
            return spoken(said, self.tokenizer)
        return self.tokenizer.decode(said).strip()

    def answer(self, ids: list[int], said: list[int]) -> Iterator[str]:
        """Yield the answer to the prompt; `said` grows with it, calls and results included."""
        limit, end = self.model.config.block_size + 1, self.tokenizer.end
        run = self.tokenizer.special.get(RUN)
        for turn in range(MOST_CALLS + 1):
            room = min(self.longest - len(said), limit - len(ids) - len(said))
            if room < 1:
                return
            decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
            token = end
            with self.runtime.autocast():
                for [(_, token)] in stream(self.model, [ids + said], room,
                                           temperature=self.temperature,
                                           stop=(end,) if run is None else (end, run),
                                           generator=self.generator):
                    if token != end:
                        said.append(token)
                        piece = decoder.decode(self.tokenizer.decode_bytes([token]))
                        yield piece if len(said) > 1 else piece.lstrip()
            call = pending_call(said, self.tokenizer) if token == run and run is not None else None
            if call is None or turn == MOST_CALLS:
                return
            read = result_ids(*call, self.tokenizer)
            said += read
            yield self.tokenizer.decode(read)

    def command(self, line: str) -> str:
        """Carry out "/name value" -> what to tell the user. Raises ValueError for a bad one."""
        name, _, value = line[1:].partition(" ")
        value = value.strip()
        if name == "reset":
            self.turns, self.forgotten = [], 0
            return "forgotten"
        if name == "system":
            self.system, self.turns, self.forgotten = value, [], 0
            return f"system line: {value or '(none)'}"
        if name == "temperature":
            try:
                number = float(value)
            except ValueError:
                raise ValueError(f"/temperature {value}: give a number, such as 0.7") from None
            check_sampling(number, None, None)
            self.temperature = number
            return f"temperature {number}"
        if name == "save":
            if not value or not self.turns:
                raise ValueError("/save FILE.jsonl: give a file, and say something first")
            write_conversations(Path(value).expanduser(), [self.messages()])
            return f"saved {value}"
        if name == "help":
            return __doc__.split("Commands while chatting:\n")[1].rstrip()
        raise ValueError(f"/{name}: unknown; /help lists the commands")


def answer_aloud(chat: Chat, text: str) -> None:
    """Print the answer as it comes. Ctrl-C breaks it off, not the chat."""
    before = chat.forgotten
    try:
        for piece in chat.ask(text):
            print(piece, end="", flush=True)
    except KeyboardInterrupt:
        print(" …", end="")
    print(flush=True)
    if chat.forgotten > before:
        print(f"(the oldest {chat.forgotten} turns no longer fit and are forgotten)",
              file=sys.stderr)


def talk(chat: Chat) -> None:
    """Read lines until /quit or Ctrl-D. Without a terminal, each line of the pipe is a question."""
    is_terminal = sys.stdin.isatty()
    while True:
        try:
            line = input("you    " if is_terminal else "").strip()
        except EOFError:
            return
        except KeyboardInterrupt:
            print()
            continue
        if line in ("/quit", "/exit"):
            return
        if not line:
            continue
        try:
            if line.startswith("/"):
                print(chat.command(line))
            else:
                print("model  " if is_terminal else "", end="", flush=True)
                answer_aloud(chat, line)
        except BrokenPipeError:  # whoever read our answers has left, as `head` does
            raise
        except (ValueError, OSError) as error:
            print(f"error: {error}", file=sys.stderr)


# CHANGED in part 9: another checkpoint
def parse_args(argv=None):
    parser = make_parser(__doc__)
    parser.add_argument("--checkpoint", type=Path, default=here(__file__) / "out" / "grpo.pt",
                        help="a checkpoint or a released model's folder (default: out/grpo.pt "
                             "beside the script)")
    parser.add_argument("--chat", choices=CHOICES, default="auto",
                        help="a released model's form of conversations (default: auto, as its folder "
                             "says)")
    parser.add_argument("--prompt", default=None, help="one question; print the answer and leave")
    parser.add_argument("--system", default="", help="the system line (default: none)")
    parser.add_argument("--temperature", type=float, default=0.0,
                        help="0: always the likeliest token; 1: as learnt (default: 0)")
    parser.add_argument("--longest", type=int, default=240,
                        help="the most tokens of an answer (default: 240)")
    return parser.parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    model, tokenizer, _ = load_checkpoint(args.checkpoint, chat=args.chat, make_with=MAKE_WITH)
    if not is_chat_model(tokenizer):
        raise ValueError(f"{args.checkpoint} knows no roles; make a chat model with: {MAKE_WITH}")
    amp, is_small = args.amp, model.count_parameters() < SMALL
    if amp == "auto" and is_small and args.device in ("auto", "cpu"):
        amp = "float32"
    runtime = choose_runtime(args.device, amp, width=model.config.n_embd, quiet=True)
    chat = Chat(rounded_once(model, runtime), tokenizer, runtime, system=args.system,
                temperature=args.temperature, longest=args.longest, seed=args.seed)
    if args.prompt is not None:
        answer_aloud(chat, args.prompt)
        return
    if sys.stdin.isatty():
        print(f"{model.count_parameters():,} parameters, context {model.config.block_size}; "
              "/help for help, Ctrl-D to leave")
    talk(chat)


if __name__ == "__main__":
    run_main(main)
