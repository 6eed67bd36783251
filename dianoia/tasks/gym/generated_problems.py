"""Generate problems of one of reasoning-gym's tasks, by number and without end.

In: a name such as `gym/chain_sum` or `gym/chain_sum?max_terms=3&max_digits=1`, with options of the task. Out: a
`ProblemSource`. Not here: curricula and mixtures of reasoning-gym.

reasoning-gym makes problem `index` of a data set from the seed plus the index, so that data sets with seeds 1 and 2 are the
same list, shifted by one. Decisions:
1. A problem has a key of 31 bits, a hash of side, seed and number: even for training, odd for held-out problems. So other
   seeds and numbers give unrelated keys.
2. Small tasks have the same question under many keys. So a hash of the words of a question decides its side, as in files,
   and a problem on the wrong side is drawn again.
"""

import hashlib
import importlib
import importlib.metadata
import importlib.util
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from functools import lru_cache
from itertools import islice
from typing import Any
from urllib.parse import parse_qsl

from dianoia.base.errors import ConfigError
from dianoia.base.extras import pip_install
from dianoia.base.records import Problem
from dianoia.sandbox.guest.values import encode
from dianoia.tasks.gym.gym_tasks import OFFERED, REFUSED, VERSION, Rule
from dianoia.tasks.problem_files import split_of

PREFIX = "gym/"
_HELDOUT_SHARE = 0.2
_ATTEMPTS = 500
"""After this many draws without a usable problem a task has too few different ones."""
# By reasoning-gym's category of a task; all other categories are logic.
_DOMAINS = {"algebra": "math", "arithmetic": "math", "geometry": "math", "probability": "math"}
# Set by this module: the key of a problem takes the place of both.
_NOT_OPTIONS = ("seed", "size")
# Sorted pairs and not a dict, so that they can be a key of the caches below.
Options = tuple[tuple[str, Any], ...]


class GymProblems:
    """Problems of one task; see `gym_problems`."""

    languages = frozenset({"en"})

    def __init__(self, task: str, options: Options) -> None:
        self.task, self.options = task, options
        self.verifiers = frozenset({OFFERED[task].verifier})

    def draw(self, seed: int, start: int, count: int) -> list[Problem]:
        """Return training problems `start` to `start + count - 1` of the stream that `seed` names."""
        return [self._training_problem(f"train-{seed}-{n}") for n in range(start, start + count)]

    def _training_problem(self, number: str) -> Problem:
        for attempt in range(_ATTEMPTS):
            problem = _problem(self.task, self.options, _key(f"{number}-{attempt}", odd=0))
            # Decision 2: the attempt is part of the key, so that the same problem is found again.
            if split_of(problem.question, _HELDOUT_SHARE) == "train":
                return problem
        raise self._too_few()

    def heldout(self, limit: int) -> list[Problem]:
        """Return held-out problems with different questions; fewer if the task has fewer."""
        problems = list(islice(self._heldout_problems(), limit))
        if not problems:
            raise self._too_few()
        return problems

    def _heldout_problems(self) -> Iterator[Problem]:
        """Yield problems with different questions, until _ATTEMPTS draws have given no new one."""
        questions: set[str] = set()
        number = since_new = 0
        while since_new < _ATTEMPTS:
            problem = _problem(self.task, self.options, _key(f"heldout-{number}", odd=1))
            number, since_new = number + 1, since_new + 1
            is_new = problem.question not in questions
            if is_new and split_of(problem.question, _HELDOUT_SHARE) == "heldout":
                questions.add(problem.question)
                since_new = 0
                yield problem

    def _too_few(self) -> ConfigError:
        return ConfigError(
            f"{PREFIX}{self.task}: with these options there are too few different problems for training and "
            f"held-out ones ({dict(self.options) or 'its own defaults'}); give it a larger range"
        )


def gym_problems(name: str, key: str = "problems") -> GymProblems:
    """Return the problems of a name such as `gym/chain_sum?max_terms=3`.

    `key` is the recipe's key in messages.

    Raises:
        ConfigError: an unknown or refused task, an unknown option or value, or reasoning-gym is not installed in the
            version that the rules were checked with.
    """
    task, _, query = name.removeprefix(PREFIX).partition("?")
    if task in REFUSED:
        raise ConfigError(
            f"{key} = {name!r}: reasoning-gym's task {task!r} is not offered: {REFUSED[task]}; use one of {_names()}"
        )
    if task not in OFFERED:
        raise ConfigError(
            f"{key} = {name!r}: no task of this name has been checked; use one of {_names()}"
        )
    _check_installed(f"{key} = {name!r}")
    settings = dict(parse_qsl(query, keep_blank_values=True))
    options = _options(task, settings, f"{key} = {name!r}")
    # Built once now, so that a bad option is an error of the recipe and not of a running stage.
    try:
        _dataset(task, options)
    except (AssertionError, ValueError, TypeError) as error:
        raise ConfigError(
            f"{key} = {name!r}: reasoning-gym does not take these options ({error or 'out of range'})"
        ) from None
    return GymProblems(task, options)


def _names() -> str:
    return ", ".join(sorted(OFFERED))


def _check_installed(where: str) -> None:
    advice = pip_install("gym")
    if importlib.util.find_spec("reasoning_gym") is None:
        raise ConfigError(f"{where}: reasoning-gym is not installed; {advice}")
    # Tasks and scorers change between versions; the rules hold for one.
    version = importlib.metadata.version("reasoning-gym")
    if version != VERSION:
        raise ConfigError(
            f"{where}: reasoning-gym {version} is installed, but its tasks and scorers were checked in {VERSION} "
            f"and change from version to version; {advice}"
        )


def _options(task: str, settings: Mapping[str, str], where: str) -> Options:
    """Return options in the types of the task's own defaults, with those of its rule."""
    factory = importlib.import_module("reasoning_gym.factory")
    config = factory.DATASETS[task][1]()
    defaults = {
        field.name: getattr(config, field.name)
        for field in fields(config)
        if field.name not in _NOT_OPTIONS
        and isinstance(getattr(config, field.name), (bool, int, float, str))
    }
    # First, so that the user's options replace those of the rule.
    options = dict(OFFERED[task].options)
    for option, text in settings.items():
        if option not in defaults:
            raise ConfigError(
                f"{where}: the task has no option {option!r} that can be set here; it has {', '.join(defaults)}"
            )
        options[option] = _parse_option(text, defaults[option], f"{where}, {option} = {text!r}")
    return tuple(sorted(options.items()))


def _parse_option(text: str, default: bool | int | float | str, where: str) -> Any:
    """Return a value of the type of the default."""
    try:
        # Before the type is called: bool("false") is True.
        if isinstance(default, bool):
            return {"true": True, "false": False}[text.lower()]
        make: Callable[[str], object] = type(default)
        return make(text)
    except (ValueError, KeyError):
        raise ConfigError(f"{where}: not a {type(default).__name__} such as {default!r}") from None


def _key(name: str, odd: int) -> int:
    """Return a key of 31 bits, even or odd."""
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()
    # Clears the sign bit and the lowest bit, which says the side.
    return (int.from_bytes(digest[:4]) & 0x7FFFFFFE) | odd


@lru_cache(maxsize=64)
def _dataset(task: str, options: Options) -> Any:
    gym = importlib.import_module("reasoning_gym")
    return gym.create_dataset(task, seed=0, size=1, **dict(options))


@lru_cache(maxsize=4096)
def _problem(task: str, options: Options, key: int) -> Problem:
    """Return a problem by its key. The seed of the data set is 0 and the index is the key; their sum seeds the problem."""
    data, rule = _dataset(task, options), OFFERED[task]
    entry = data[key]
    return Problem(
        id=f"{PREFIX}{task}-{key}",
        question=entry["question"].strip(),
        answer=entry["answer"].strip(),
        verifier=rule.verifier,
        domain=_DOMAINS.get(data.category, "logic"),
        language="en",
        columns=_columns(task, options, entry, rule),
    )


def _columns(task: str, options: Options, entry: Mapping[str, Any], rule: Rule) -> dict[str, Any]:
    """Return the data that reasoning-gym's scorer needs: plain values only, so that they can be written to files."""
    if rule.verifier != "gym":
        return {}
    encode(entry)  # raises TypeError for a value that is not plain
    return {"task": task, "options": repr(dict(options)), "entry": repr(dict(entry))}
