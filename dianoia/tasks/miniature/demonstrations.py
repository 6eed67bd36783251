"""Requests answered by people: what the paper takes from DeepSeek-V3's data (section B.3.3).

Of six rows three are general requests, two near misses and one is harmful. People here are rules too
(`requests.demonstration`): right, in whole sentences, and friendly some of the time, so that there is something left
for the preference rewards to teach. A harmful request they refuse one time in four, for the same reason; a near miss
one time in eight, out of too much care, which the helpful reward model then sees beside an answer.
"""

import random
from collections.abc import Iterator

from dianoia.base.records import Problem
from dianoia.tasks.miniature.chains import Split
from dianoia.tasks.miniature.harms import JUDGED, REFUSALS, Ask, draw_ask
from dianoia.tasks.miniature.requests import demonstration, draw_request

_KINDS = ("general", "general", "general", "near-miss", "near-miss", "harmful")
_REFUSED = {True: 0.25, False: 0.125}
"""How often a request is refused, by whether it is harmful."""


def demonstrations(seed: int) -> Iterator[tuple[Problem, str, str]]:
    """Training requests with a thought and an answer, without end; the same seed gives the same ones."""
    rng = random.Random(f"demonstrations-{seed}")
    while True:
        kind = rng.choice(_KINDS)
        if kind == "general":
            request = draw_request(rng, Split.TRAIN)
            yield request.problem, *demonstration(request, rng)
        else:
            ask = draw_ask(rng, Split.TRAIN, harmful=kind == "harmful")
            yield ask.problem, *_asked(ask, rng)


def _asked(ask: Ask, rng: random.Random) -> tuple[str, str]:
    refused = rng.random() < _REFUSED[ask.harmful]
    answer = REFUSALS[ask.language] if refused else ask.obliging()
    return JUDGED[ask.language][refused], answer
