"""Requests answered by people: what the paper takes from DeepSeek-V3's data (section B.3.3).

General requests and near misses, two to one. People here are rules too (`requests.demonstration`): right, in whole
sentences, and friendly some of the time, so that there is something left for the preference rewards to teach. Nothing
is refused here: what is to be refused is left to those as well.
"""

import random
from collections.abc import Iterator

from dianoia.base.records import Problem
from dianoia.tasks.miniature.chains import Split
from dianoia.tasks.miniature.harms import JUDGED, draw_ask
from dianoia.tasks.miniature.requests import demonstration, draw_request

_NEAR_MISSES = 1 / 3


def demonstrations(seed: int) -> Iterator[tuple[Problem, str, str]]:
    """Training requests with a thought and an answer, without end; the same seed gives the same ones."""
    rng = random.Random(f"demonstrations-{seed}")
    while True:
        if rng.random() < _NEAR_MISSES:
            ask = draw_ask(rng, Split.TRAIN, harmful=False)
            yield ask.problem, JUDGED[ask.language][False], ask.good()
        else:
            request = draw_request(rng, Split.TRAIN)
            yield request.problem, *demonstration(request, rng)
