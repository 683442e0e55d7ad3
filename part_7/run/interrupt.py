"""Ctrl-C in a long run: finish the step, save, and only then stop.

Used   train_gpt.py   (lesson 2.4)
"""

import signal


class StopOnSignal:
    """`with StopOnSignal() as stop:` … `if stop.requested: break`. A second Ctrl-C stops at once.

    An exception in the middle of optimizer.step() would leave some weights moved and others not;
    a flag that is read between two steps does not.
    """

    SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP")
                    if hasattr(signal, name))  # SIGHUP: the terminal was closed

    def __init__(self):
        self.requested = False

    def __enter__(self):
        heard = [number for number in self.SIGNALS  # under nohup a closed terminal is no reason
                 if number == signal.SIGINT or signal.getsignal(number) != signal.SIG_IGN]
        self.before = {number: signal.signal(number, self.handle) for number in heard}
        return self

    def handle(self, number, frame) -> None:
        self.requested = True
        self.restore()  # the next one has its usual effect

    def restore(self) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def __exit__(self, *exception) -> None:
        self.restore()
