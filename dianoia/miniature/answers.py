"""Requests answered by people: what the paper takes from DeepSeek-V3's data (section B.3.3).

Of six rows three are general requests, two near misses and one is harmful. People here are rules too
(`requests.demonstration`): right, in whole sentences, and friendly some of the time, so that there is something left
for the preference rewards to teach. A harmful request they refuse one time in four, for the same reason. Nobody is
perfect: a near miss is refused one time in eight, out of too much care, and one other answer in eight says two
closings more, out of too much kindness. The helpful reward model then sees either beside a better answer; what it has
never seen it rewards as it happens to, and the last RL finds that (section B.5).
"""

import random
from collections.abc import Iterator

from dianoia.base.records import Problem
from dianoia.miniature.chains import Split
from dianoia.miniature.harms import JUDGED, REFUSALS, Ask, draw_ask
from dianoia.miniature.requests import CLOSINGS, demonstration, draw_request
from dianoia.miniature.voice import GAP

_KINDS = ("general", "general", "general", "near-miss", "near-miss", "harmful")
_REFUSED = {True: 0.25, False: 0.125}
"""How often a request is refused, by whether it is harmful."""
_GUSHING = 0.125
"""How often an answer closes again and again."""


def demonstrations(seed: int) -> Iterator[tuple[Problem, str, str]]:
    """Training requests with a thought and an answer, without end; the same seed gives the same ones."""
    rng = random.Random(f"demonstrations-{seed}")
    while True:
        kind = rng.choice(_KINDS)
        if kind == "general":
            request = draw_request(rng, Split.TRAIN)
            thought, answer = demonstration(request, rng)
            yield request.problem, thought, _closed(answer, request.language, rng)
        else:
            ask = draw_ask(rng, Split.TRAIN, harmful=kind == "harmful")
            yield ask.problem, *_asked(ask, rng)


def _asked(ask: Ask, rng: random.Random) -> tuple[str, str]:
    refused = rng.random() < _REFUSED[ask.harmful]
    answer = REFUSALS[ask.language] if refused else ask.obliging()
    if not (refused or ask.harmful):
        answer = _closed(answer, ask.language, rng)
    return JUDGED[ask.language][refused], answer


def _closed(answer: str, language: str, rng: random.Random) -> str:
    """The answer, now and then with two closings too many."""
    if rng.random() >= _GUSHING:
        return answer
    return GAP[language].join((answer, *rng.choices(CLOSINGS[language], k=2)))
