"""What several tests need: a tiny base made by the real `pretrain` stage, recipes, the command line."""

import fcntl
import gc
import io
import json
import logging
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from _pytest.runner import runtestprotocol
from hypothesis import settings, strategies

from dianoia.cli import main
from dianoia.metrics.definitions import defined
from tests import fork_server
from tests.fork_server import ADDRESS, ForkServer

# Nothing here imports torch: pytest's main process loads this file, and does nothing else before its workers start.

# A law is no less a law on a busy machine, where one example may take any time.
settings.register_profile("no deadline", deadline=None, max_examples=50)
settings.load_profile("no deadline")


# Modules and tests stay until the end: a collector that looks through them again and again takes seconds.
gc.disable()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Run two processes more than there are cores: many tests wait for a clock or a child process."""
    return (os.cpu_count() or 1) + 2


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(config: pytest.Config, specs: Sequence[Any]) -> None:
    """Fork xdist's workers from one process that has imported PyTorch, instead of importing it in each."""
    # Elsewhere a fork of PyTorch may crash; and coverage has to see each import.
    if sys.platform != "linux" or config.pluginmanager.hasplugin("_cov"):
        return
    server = ForkServer(config.rootpath)
    config.add_cleanup(server.close)
    os.environ[ADDRESS] = server.address
    # Hypothesis keeps its tables of all characters in a file; without it each worker would make them, in two seconds.
    strategies.text().validate()
    for spec in specs:
        spec.python = shlex.join([sys.executable, fork_server.__file__])


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Tell xdist's main process of a test's call, and of a setup or teardown that went wrong: it counts these and no more.

    Four more messages say that a test begins and ends and that its setup and teardown have passed, and each costs both
    processes a part of a millisecond. Where they are read they are sent.
    """
    options = item.config.option
    if (
        not hasattr(item.config, "workerinput")
        or options.durations
        or options.xmlpath
        or options.verbose > 0
    ):
        return None
    for report in runtestprotocol(item, log=False, nextitem=nextitem):
        if report.when == "call" or not report.passed:
            item.ihook.pytest_runtest_logreport(report=report)
    return True


def pytest_collection_finish() -> None:
    """Leave what is there now out of every later collection of garbage."""
    fork_server.freeze()
    gc.enable()


TINY_BASE = """
name = "tiny-base"
threads = 1
[stages.base]
kind = "pretrain"
tokens = 12_000
tokens_per_step = 1024
vocabulary = 700
[stages.base.model]
hidden_size = 16
layers = 2
heads = 2
kv_heads = 1
head_dim = 8
intermediate_size = 32
[stages.base.optimizer]
learning_rate = 1e-2
"""

# The base answers nothing right: only the punishment of long responses gives its samples an advantage to learn from.
TINY_ZERO = """
name = "tiny-zero"
threads = 1
[stages.zero]
kind = "rl"
start = "{base}"
problems = "miniature/math"
steps = 4
group_size = 4
problems_per_rollout = 4
minibatches = 2
checkpoint_every = 1
[stages.zero.sampling]
max_tokens = 24
slots = 8
[stages.zero.rewards]
overlong_cache = 20
[stages.zero.optimizer]
learning_rate = 1e-2
[stages.zero.progress]
every = 2
problems = 4
samples = 2
rollouts_every = 1
[stages.evaluation]
kind = "evaluate"
checkpoints = ["{base}", "zero"]
problems = "miniature/math"
limit = 6
samples = 2
max_tokens = 24
slots = 8
"""


@pytest.fixture(scope="session", autouse=True)
def _no_power_cut() -> Iterator[None]:
    """Files are not flushed to the disk: a run flushes sixty times, and a test waits for each."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "fsync", lambda _descriptor: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def _no_last_resort() -> None:
    """Without any handler Python would write warnings of loggers to the standard error."""
    logging.getLogger().addHandler(logging.NullHandler())


@pytest.fixture
def logged() -> Iterator[Callable[[], str]]:
    """Returns what loggers have written since the test began, warnings and worse.

    Not pytest's `caplog`: its plugin looks through all loggers six times a test, of which PyTorch and others bring 400.
    """
    handler = logging.StreamHandler(stream := io.StringIO())
    loggers = [
        logging.getLogger(name) for name in (None, "transformers")
    ]  # which does not propagate
    for logger in loggers:
        logger.addHandler(handler)
    yield stream.getvalue
    for logger in loggers:
        logger.removeHandler(handler)


Make = Callable[[Path], None]
"""Writes into an empty folder."""


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Make], Path]:
    """A folder that the first of xdist's workers makes; every worker reads that one, so nothing may change it."""
    session = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        session = session.parent

    def folder(name: str, make: Make) -> Path:
        result, mark = session / f"made-{name}", session / f"made-{name}.done"
        with (session / f"made-{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not mark.exists():
                shutil.rmtree(result, ignore_errors=True)  # of a worker that failed at it
                result.mkdir()
                make(result)
                mark.touch()
        return result

    return folder


@pytest.fixture(scope="session")
def copy_of(
    made_once: Callable[[str, Make], Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, Make], Path]:
    """A copy for this worker of a folder that is made once, such as one with a run, whose lock only one command may hold."""

    def folder(name: str, make: Make) -> Path:
        return shutil.copytree(made_once(name, make), tmp_path_factory.mktemp(name) / "copy")

    return folder


@pytest.fixture(scope="session")
def tiny_base(made_once: Callable[[str, Make], Path]) -> Path:
    """A Hugging Face folder with a base model that knows next to nothing; for reading only."""

    def make(folder: Path) -> None:
        recipe = folder / "base.toml"
        recipe.write_text(TINY_BASE, encoding="utf-8")
        assert main(["run", str(recipe), "--out", str(folder / "run")]) == 0

    return made_once("tiny-base", make) / "run" / "stages" / "base" / "checkpoint"


@pytest.fixture
def tiny_zero(tmp_path: Path, tiny_base: Path) -> Path:
    """A recipe of reinforcement learning and evaluation that takes seconds."""
    recipe = tmp_path / "zero.toml"
    recipe.write_text(TINY_ZERO.replace("{base}", tiny_base.as_posix()), encoding="utf-8")
    return recipe


@pytest.fixture
def metrics() -> Callable[[Path], list[dict[str, object]]]:
    """Reads the rows of a run's RL metrics, without what differs between two runs: times."""

    def read(run: Path) -> list[dict[str, object]]:
        lines = (run / "stages" / "zero" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines]
        undefined = {key for row in rows for key in row if not defined("rl", key)}
        assert not undefined, f"define these in dianoia/metrics/definitions.py: {undefined}"
        return [{k: v for k, v in row.items() if not k.endswith("seconds")} for row in rows]

    return read
