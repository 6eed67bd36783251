"""A small real tokenizer, problems with known answers, and a sampler that says what it is told."""

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch
from rich.console import Console
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from dianoia.base.progress import Board
from dianoia.base.records import Completion, Problem, Request, SamplingParams
from dianoia.config import Habits
from dianoia.hardware.c_functions import SWITCH, library
from dianoia.miniature.corpus import documents
from dianoia.miniature.tokenizer import END, train_tokenizer
from dianoia.sampler.interface import OnFinish, SamplerStats, WeightUpdate
from dianoia.sampler.rollouts import RolloutSampler
from dianoia.stages.context import StageContext
from dianoia.storage.run_directory import StageDirectory
from dianoia.text.prompts import Prompts
from dianoia.text.template import TEMPLATES, Template

Say = Callable[[str, int], str | None]
"""(prompt, sample index) -> response; one that ends in "~" is cut there, at the length limit."""


@pytest.fixture
def in_c(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The C functions of a CPU, where there is a compiler."""
    monkeypatch.setenv(SWITCH, "1")
    library.cache_clear()
    if library() is None:
        pytest.skip("no C compiler here")
    yield
    library.cache_clear()


@pytest.fixture
def without_c(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """PyTorch alone."""
    monkeypatch.setenv(SWITCH, "0")
    library.cache_clear()
    yield
    library.cache_clear()


class ScriptedSampler:
    """A sampler that answers by a script and remembers what it was asked."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, say: Say) -> None:
        self.tokenizer, self.phrase = tokenizer, say
        self.asked: list[tuple[list[Request], SamplingParams]] = []
        self.loaded: list[WeightUpdate] = []
        self.stats = SamplerStats()

    def load(self, update: WeightUpdate) -> None:
        self.loaded.append(update)

    def pull(self) -> int:
        return self.loaded[-1].version if self.loaded else 0

    def generate(
        self,
        requests: Sequence[Request],
        params: SamplingParams,
        on_finish: OnFinish | None = None,
    ) -> list[list[Completion]]:
        self.asked.append((list(requests), params))
        completions_of = [
            [self._completion(r, sample) for sample in range(r.samples)] for r in requests
        ]
        for index, completions in enumerate(completions_of if on_finish else ()):
            for sample, completion in enumerate(completions):
                on_finish(index, sample, completion)
        return completions_of

    def _completion(self, request: Request, sample: int) -> Completion:
        text = self.phrase(self.tokenizer.decode(list(request.prompt_ids)), sample)
        cut = text.endswith("~")
        ids = self.tokenizer(text.removesuffix("~"), add_special_tokens=False)["input_ids"]
        ids = tuple(ids) if cut else (*ids, self.tokenizer.eos_token_id)
        return Completion(ids, (-0.5,) * len(ids), not cut)


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    trained = train_tokenizer(islice(documents(Habits(), seed=1), 400), 600)
    return PreTrainedTokenizerFast(tokenizer_object=trained, eos_token=END, pad_token=END)


@pytest.fixture
def roller(tokenizer: PreTrainedTokenizerFast) -> Callable[..., RolloutSampler]:
    """A roller over a script; `roller(say).sampler.asked` says what it was asked."""

    def make(say: Say, template: Template = TEMPLATES["r1-zero"]) -> RolloutSampler:
        prompts = Prompts(tokenizer, template)
        return RolloutSampler(ScriptedSampler(tokenizer, say), prompts)

    return make


@pytest.fixture
def problems() -> list[Problem]:
    """Two problems, of the difficulties 10 and 2, with the gold answers 5 and 7."""
    first = Problem("a", "First?", "5", "number", difficulty=10)
    return [first, replace(first, id="b", question="Second?", answer="7", difficulty=2)]


@pytest.fixture
def params() -> SamplingParams:
    return SamplingParams(max_tokens=50, stop_ids=frozenset({0}), temperature=0.7, top_p=0.9)


@pytest.fixture
def context(tmp_path: Path) -> StageContext:
    """The context of a stage in a temporary folder; what it says is in `context.said()`."""
    directory = StageDirectory(tmp_path / "stage")
    directory.prepare()
    console = Console(file=io.StringIO(), width=200)
    progress = Board(console).stage("stage")
    progress.set_total(10)
    return StageContext("stage", directory, 3, torch.device("cpu"), Path, progress)


@pytest.fixture(scope="session")
def folder(tokenizer: PreTrainedTokenizerFast, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Hugging Face folder with a random model of a few thousand parameters."""
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        num_key_value_heads=1,
        head_dim=8,
        intermediate_size=8,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=0,
        pad_token_id=0,
    )
    path = tmp_path_factory.mktemp("model")
    Qwen3ForCausalLM(config).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path
