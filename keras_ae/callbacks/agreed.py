"""What several processes do at the same step, though it has happened to one of them."""

import time

from keras_ae import backends

EVERY = 0.5  # seconds: to agree, all processes wait for one another


class Agreed:
    """Called at each step with a number, it gives all processes the highest at the same step, within half a second or a
    step; 0 at the steps between. In a single process it gives the number back.

    >>> agreed = Agreed()
    >>> agreed(0), agreed(15)
    (0, 15)
    """

    def __init__(self):
        self.steps = 0  # since they last agreed
        self.ahead = 1  # from there to the next time
        self.time = time.monotonic()
        self.highest = 0

    def __call__(self, number: int) -> int:
        if backends.world().processes == 1:
            return number
        self.steps += 1
        self.highest = max(self.highest, number)
        if self.steps < self.ahead:
            return 0
        seconds = (time.monotonic() - self.time) / self.steps
        ahead = max(1, int(EVERY / seconds)) if backends.is_first() else 0  # clocks differ: the first one's counts
        number, ahead = backends.highest([self.highest, ahead])
        self.steps, self.ahead, self.time, self.highest = 0, int(ahead), time.monotonic(), 0
        return int(number)
