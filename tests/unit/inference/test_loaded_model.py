"""A model is asked, and answers what its engine draws alone."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from dianoia.base.errors import ConfigError, ModelError
from dianoia.base.records import Problem, Request, RolloutStatus, SamplingParams
from dianoia.inference.chat_messages import turns_of
from dianoia.inference.loaded_model import Model, _dtype, asked_key, load
from dianoia.sampler.native.engine import NativeSampler
from dianoia.sampler.transformers import TransformersSampler
from dianoia.text.template import TEMPLATES

QUESTION = "Compute 12 +3 -5. What is the result?"
SHORT = {"max_tokens": 12, "seed": 3}


@pytest.fixture(scope="module")
def model() -> Model:
    return load("miniature-base-small", device="cpu")


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerFast) -> Model:
    """A model that only transformers can run, with a chat template."""
    path = tmp_path_factory.mktemp("gpt2")
    config = GPT2Config(vocab_size=len(tokenizer), n_embd=8, n_layer=1, n_head=1, n_positions=64,
                        bos_token_id=None, eos_token_id=0, pad_token_id=0)  # fmt: skip
    GPT2LMHeadModel(config).save_pretrained(path)
    tokenizer.save_pretrained(path)
    (path / "chat_template.jinja").write_text(
        "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}"
    )
    return load(path, device="cpu")


def test_a_shipped_base(model: Model) -> None:
    assert (model.name, model.template.name) == ("miniature-base-small", "r1-zero")
    assert model.defaults.temperature == 0.6 and model.defaults.top_p == 0.95
    assert isinstance(model.sampler, NativeSampler)
    assert "miniature-base-small" in repr(model)


def test_a_response_is_what_the_engine_draws(model: Model) -> None:
    responses = model.ask(QUESTION, 3, temperature=1.0, top_p=1.0, **SHORT)
    prompt = model.tokenizer(model.template.render(QUESTION))["input_ids"]
    params = SamplingParams(12, model.prompts.stop_ids)
    request = Request(tuple(prompt), 3, asked_key(3))
    assert [r.completion for r in responses] == model.sampler.generate([request], params)[0]
    assert [r.sample for r in responses] == [0, 1, 2]
    assert {r.prompt_tokens for r in responses} == {len(prompt)}
    assert len({r.text for r in responses}) > 1


def test_a_response_does_not_depend_on_its_company(model: Model) -> None:
    alone = model.ask(QUESTION, 2, **SHORT)
    together = model.ask_all(["Who?", QUESTION, "Where are you now?"], 2, **SHORT)
    assert together[1] == alone
    assert model.ask(QUESTION, **SHORT) == alone[:1]
    assert model.ask(QUESTION, 2, max_tokens=12, seed=4) != alone


def test_threads_take_turns(model: Model) -> None:
    alone, results = model.ask(QUESTION, **SHORT), []
    threads = [
        threading.Thread(target=lambda: results.append(model.ask(QUESTION, **SHORT)))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [alone] * 3


def test_a_drawn_seed_draws_the_same_again(model: Model) -> None:
    first = model.ask(QUESTION, 2, max_tokens=12, temperature=1.5)
    seed = first[0].seed
    assert model.ask(QUESTION, 2, max_tokens=12, temperature=1.5, seed=seed) == first
    assert model.ask(QUESTION, max_tokens=4)[0].seed != seed


def test_a_limit_cuts_a_response(model: Model) -> None:
    (response,) = model.ask(QUESTION, max_tokens=3, seed=1)
    assert response.status is RolloutStatus.TRUNCATED and response.tokens == 3
    assert response.answer is None and response.fault is None


def test_a_problem_is_graded(model: Model) -> None:
    gold = Problem("p", QUESTION, "10", "number")
    responses = model.ask(gold, 16, seed=1, max_tokens=100)
    assert any(r.answer for r in responses), "some of them must have an answer to grade"
    for response in responses:
        is_ten = response.status is RolloutStatus.FINISHED and response.answer == "10"
        assert response.right is is_ten
    assert all(r.right is None for r in model.ask(QUESTION, 2, **SHORT))


def test_a_problem_without_a_verifier_is_refused(model: Model) -> None:
    with pytest.raises(ConfigError, match=r"no verifier 'maht' \(did you mean 'math'\?\)"):
        model.ask(Problem("p", QUESTION, "10", "maht"))


def test_a_response_is_json(model: Model) -> None:
    (response,) = model.ask(QUESTION, **SHORT)
    table = response.as_json()
    assert table["status"] == response.status.value and table["seed"] == 3
    assert "completion" not in table
    assert str(response) == response.content


def test_a_conversation_goes_on_without_its_thoughts(model: Model) -> None:
    turns = [
        {"role": "user", "content": "2+3?"},
        {"role": "assistant", "content": "5", "reasoning_content": "I count."},
        {"role": "user", "content": "Sure?"},
    ]
    (response,) = model.ask(turns, max_tokens=1, seed=1, system="Be kind.")
    (ids,) = model.prompts([turns_of(turns)])
    text = model.decode(ids)
    assert "I count." not in text and text.count("User:") == 2 and "\nAssistant: 5" in text
    # With the system message on a line of its own.
    assert response.prompt_tokens > len(ids)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"samples": 0}, "samples = 0"),
        ({"max_tokens": 2000}, "max_tokens = 2,000: .* leaves"),
        ({"max_tokens": 0}, "max_tokens=0"),
        ({"temperature": -1.0}, "temperature=-1.0"),
        ({"top_p": 0.0}, "top_p=0.0"),
        ({"template": "r1-zeor"}, "did you mean 'r1-zero'"),
    ],
)
def test_refusals(model: Model, options: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        model.ask(QUESTION, **options)  # type: ignore[arg-type]


def test_a_prompt_that_is_too_long(model: Model) -> None:
    with pytest.raises(ConfigError, match=r"positions for prompt and response together"):
        model.ask("word " * 1100)


def test_another_template_is_the_callers_choice(model: Model) -> None:
    plain = model.ask(QUESTION, template="plain", max_tokens=2, seed=1)
    assert plain[0].prompt_tokens < model.ask(QUESTION, max_tokens=2, seed=1)[0].prompt_tokens
    assert model.ask(QUESTION, template=TEMPLATES["plain"], max_tokens=2, seed=1) == plain


def test_a_warning_about_another_template(
    folder: Path, tmp_path: Path, logged: Callable[[], str]
) -> None:
    trained = tmp_path / "trained"
    trained.mkdir()
    for file in folder.iterdir():
        (trained / file.name).write_bytes(file.read_bytes())
    config = (trained / "config.json").read_text().rstrip().removesuffix("}").rstrip()
    (trained / "config.json").write_text(config + ',\n"dianoia_template": "r1"\n}')
    assert load(trained, device="cpu").template.name == "r1"
    assert load(trained, device="cpu", template="plain").template.name == "plain"
    assert "was trained under 'r1'" in logged()


def test_a_folder_without_a_record_is_asked_as_a_base(folder: Path) -> None:
    assert load(folder, device="cpu").template.name == "r1-zero"


def test_a_model_of_transformers_with_a_chat_template(gpt2: Model) -> None:
    assert isinstance(gpt2.sampler, TransformersSampler)
    assert gpt2.template.name == "chat" and gpt2.positions == 64
    (first, second) = gpt2.ask("Who?", 2, temperature=1.0, max_tokens=5, seed=1)
    (alone,) = gpt2.ask("Who?", temperature=1.0, max_tokens=5, seed=1)
    assert first.text != second.text and alone.text == first.text
    # transformers computes a batch of another size with other rounding
    assert alone.completion.logprobs == pytest.approx(first.completion.logprobs, abs=1e-5)
    prompt = gpt2.tokenizer("user: Who?\nassistant:", add_special_tokens=False)["input_ids"]
    assert first.prompt_tokens == len(prompt)


def test_no_such_dtype_and_no_such_model() -> None:
    with pytest.raises(ConfigError, match="did you mean 'float32'"):
        load("miniature-base-small", dtype="float23")
    with pytest.raises(ModelError, match="did you mean 'miniature-base-small'"):
        load("miniature-base-smal")


@pytest.mark.parametrize(
    ("written", "dtype"),
    [("bfloat16", torch.bfloat16), ("float32", torch.float32), ("float16", torch.float32)],
)
def test_a_gpu_gets_the_dtype_of_the_checkpoint(
    tmp_path: Path, written: str, dtype: torch.dtype
) -> None:
    (tmp_path / "config.json").write_text(f'{{"model_type": "qwen3", "torch_dtype": "{written}"}}')
    assert _dtype(None, torch.device("cuda"), str(tmp_path)) == dtype
    assert _dtype("bfloat16", torch.device("cuda"), str(tmp_path)) == torch.bfloat16
    assert _dtype(None, torch.device("cpu"), str(tmp_path)) == torch.float32


def test_half_the_memory(model: Model) -> None:
    half = load("miniature-base-small", device="cpu", dtype="bfloat16")
    assert half.ask(QUESTION, **SHORT)[0].prompt_tokens == model.ask(QUESTION, **SHORT)[0].prompt_tokens  # fmt: skip
