"""Generators that need no model, for this process and others.

Light, since workers load it: what a test module imports would take each of them seconds.
"""

import os
import signal
import time
from types import SimpleNamespace

from narrutils.generation.engines import Answer, Backend
from narrutils.generation.writing import chunk_seed


class Fake(Backend):
    """Answers with the chunk's seed and the row's place, in `seconds`; dies after `lives` chunks."""

    name, version, form = "fake", "1", "chat"
    settings = {"size": 1}
    backbone = SimpleNamespace(name="fake", kind="hub", path_or_id="none/fake")

    def __init__(self, lives=99, seconds=0.0):
        self.lives, self.seconds, self.seeds, self.prompts, self.closed = lives, seconds, [], [], False

    def generate(self, prompts, seed):
        if len(self.seeds) == self.lives:
            raise KeyboardInterrupt
        time.sleep(self.seconds)
        self.seeds.append(seed)
        self.prompts += prompts
        return [Answer(f"Part {n} of {seed}.\n\nOther part.", 10, n % 2 == 0) for n in range(len(prompts))]

    def sample(self, asked, seeds, stops, adapters):
        raise NotImplementedError

    window = 10**6

    def filled(self, prompt):
        return sum(len(m["content"].split()) for m in prompt.messages) / self.window

    def close(self):
        self.closed = True


class Mortal(Fake):
    """Kills its process at the second chunk, once; `mark` is there afterwards."""

    def __init__(self, mark):
        super().__init__()
        self.mark = mark

    def __reduce__(self):
        return Mortal, (self.mark,)

    def generate(self, prompts, seed):
        if seed == chunk_seed(1, 1) and not self.mark.exists():
            self.mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().generate(prompts, seed)
