"""Models and tokenizers from folders: no random weights, no foreign code, no ids without a token."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
)

from dianoia.base.errors import ModelError
from dianoia.base.records import Request, Sample, SamplingParams, Turn
from dianoia.judge.reward_model_scores import RewardModel
from dianoia.learner.batching.batch import Layout, PreparedSample, collate
from dianoia.learner.logprobs import response_logprobs
from dianoia.learner.reward_learner import Rewarder, forward, up_to_reward
from dianoia.learner.reward_model_folder import (
    load_reward_model,
    prepare_padding,
    start_reward_model,
)
from dianoia.models import tokenizer_probe
from dianoia.models.loading import load_model, load_tokenizer
from dianoia.sampler.factory import make_sampler
from dianoia.sampler.transformers import TransformersSampler
from dianoia.text.prompts import encode_prompts
from tests.unit.model_folders import TOKENS, write_folder, write_model, write_qwen2, write_tokenizer

WEIGHTS = "model.safetensors"
Change = Callable[[dict[str, torch.Tensor]], object]


def edit(folder: Path, change: Change) -> None:
    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})


def gpt2(folder: Path) -> Path:
    """A family whose tensors are known to transformers alone."""
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=TOKENS, n_positions=64, n_embd=16, n_layer=2, n_head=2)
    config.eos_token_id = config.bos_token_id = 0
    GPT2LMHeadModel(config).save_pretrained(folder)
    write_tokenizer(folder)
    return folder


def drop(tensors: dict[str, torch.Tensor]) -> None:
    for name in [name for name in tensors if ".h.1." in name]:
        del tensors[name]


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (drop, ["lack the tensors transformer.h.1.", "and 9 more", "at random"]),
        (lambda t: t.update({"transformer.h.9.x": torch.zeros(2)}), ["hold", "transformer.h.9.x"]),
        (lambda t: t.update({"transformer.wpe.weight": torch.zeros(2, 2)}), ["transformer.wpe.weight"]),
        (lambda t: t["transformer.ln_f.weight"].fill_(float("nan")), ["transformer.ln_f.weight", "NaN"]),
        (lambda t: t["transformer.ln_f.bias"].fill_(float("inf")), ["transformer.ln_f.bias", "NaN or infinity"]),
    ],
)  # fmt: skip
def test_any_family_is_looked_through_when_it_is_loaded(
    change: Change, parts: list[str], tmp_path: Path
) -> None:
    folder = gpt2(tmp_path)
    load_model(folder)
    edit(folder, change)
    for load in (load_model, lambda source: start_reward_model(source, 1)):
        with pytest.raises(ModelError) as caught:
            load(folder)
        for part in parts:
            assert part in str(caught.value)


def test_large_numbers_are_no_infinity(tmp_path: Path) -> None:
    write_folder(tmp_path)
    edit(tmp_path, lambda tensors: tensors["model.norm.weight"].fill_(3e38))
    assert float(load_model(tmp_path).model.norm.weight[0].detach()) == pytest.approx(3e38)


CODE = """
from pathlib import Path
Path(r"{mark}").write_text("ran")
from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerFast
class C(PretrainedConfig):
    model_type = "{kind}"
class M(PreTrainedModel):
    config_class = C
class T(PreTrainedTokenizerFast):
    pass
"""


@pytest.mark.parametrize("family", ["hostile", "qwen3"])
def test_code_of_a_folder_never_runs(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, mark = tmp_path / "model", tmp_path / "ran"
    write_folder(folder)
    (folder / "code.py").write_text(CODE.format(mark=mark, kind=family))
    autos = (
        "AutoConfig",
        "AutoModel",
        "AutoModelForCausalLM",
        "AutoModelForSequenceClassification",
    )
    classes = {name: f"code.{'C' if name == 'AutoConfig' else 'M'}" for name in autos}
    for name, extra in (
        ("config.json", classes),
        ("tokenizer_config.json", {"AutoTokenizer": ["code.T", "code.T"]}),
    ):
        file = folder / name
        entries = json.loads(file.read_text()) | {"auto_map": extra}
        if name == "config.json":
            entries["model_type"] = family
        elif family == "hostile":
            entries["tokenizer_class"] = "T"
        file.write_text(json.dumps(entries))
    prompts: list[str] = []
    monkeypatch.setattr("builtins.input", lambda text="": prompts.append(text) or "y")
    for load in (load_model, load_tokenizer, lambda f: start_reward_model(f, 1), load_reward_model):
        try:
            load(folder)
        except ModelError as error:
            assert ("never run" if family == "hostile" else "head") in str(error)
        else:
            assert family == "qwen3" or load is load_tokenizer
    assert not mark.exists() and not prompts


# Vocabularies ------------------------------------------------------------------------------------


@pytest.fixture(params=["qwen3", "qwen3-untied", "gpt2"])
def padded(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A model with 61 rows beyond its tokenizer, which it likes better than any token."""
    folder = tmp_path / "model"
    if request.param == "gpt2":
        gpt2(folder)
        model = GPT2LMHeadModel.from_pretrained(folder)
        model.resize_token_embeddings(TOKENS + 61)
        model.save_pretrained(folder)
    else:
        write_folder(folder, vocabulary=TOKENS + 61, tied=request.param == "qwen3")
    model = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        head = model.get_output_embeddings().weight
        head[TOKENS:] = head[:TOKENS].mean(0) + 3 * torch.randn(61, head.shape[1])
    model.save_pretrained(folder)
    return folder


def drawn(model: object, requests: list[Request], **options: float) -> list[list[object]]:
    sampler = make_sampler(model)  # type: ignore[arg-type]
    params = SamplingParams(max_tokens=24, stop_ids=frozenset({0}), **options)  # type: ignore[arg-type]
    return sampler.generate(requests, params)  # type: ignore[return-value]


@pytest.mark.parametrize("temperature", [1.0, 0.0])
def test_rows_beyond_the_tokenizer_are_never_sampled(
    padded: Path, temperature: float, logged: Callable[[], str]
) -> None:
    before = AutoModelForCausalLM.from_pretrained(padded)
    after = load_model(padded)
    assert f"has {TOKENS + 61} rows and the tokenizer {TOKENS} tokens" in logged()
    assert after.config.vocab_size == TOKENS
    requests = [Request((5, 9, 40 + n), 16, (n,)) for n in range(4)]
    spare = [c for group in drawn(before, requests, temperature=temperature) for c in group]
    assert any(token >= TOKENS for c in spare for token in c.ids), (
        "the fault is there without the cut"
    )
    groups = drawn(after, requests, temperature=temperature)
    for request, group in zip(requests, groups, strict=True):
        for c in group:
            assert all(token < TOKENS for token in c.ids)
            if temperature == 0.0:
                continue
            sample = Sample(request.prompt_ids, c.ids, c.logprobs, 1.0)
            batch = collate([PreparedSample(sample, torch.zeros(len(c.ids)))], layout=Layout.PADDED)
            logprobs, _ = response_logprobs(after, batch, temperature)
            assert torch.allclose(logprobs[0], torch.tensor(c.logprobs), atol=1e-4)


def test_the_rest_of_the_model_is_as_it_was(padded: Path, tmp_path: Path) -> None:
    before, after = AutoModelForCausalLM.from_pretrained(padded), load_model(padded)
    ids = torch.arange(3, 40)[None]
    with torch.no_grad():
        expected = before(input_ids=ids).logits[..., :TOKENS]
        assert torch.equal(after(input_ids=ids).logits, expected)
    after.save_pretrained(tmp_path / "again")
    write_tokenizer(tmp_path / "again")
    again = load_model(tmp_path / "again")
    assert again.config.vocab_size == TOKENS
    assert all(
        torch.equal(a, b) for a, b in zip(again.parameters(), after.parameters(), strict=True)
    )


def test_special_ids_in_the_padding_go_with_it(tmp_path: Path) -> None:
    write_folder(tmp_path, vocabulary=TOKENS + 61)
    for name in ("config.json", "generation_config.json"):
        entries = json.loads((tmp_path / name).read_text())
        entries |= {"pad_token_id": TOKENS + 3, "eos_token_id": [0, TOKENS + 5]}
        (tmp_path / name).write_text(json.dumps(entries))
    model = load_model(tmp_path)
    assert model.config.pad_token_id is None and model.config.eos_token_id == [0]
    assert model.generation_config.eos_token_id == [0]
    model.save_pretrained(tmp_path)
    assert load_model(tmp_path).config.vocab_size == TOKENS


def test_a_model_as_large_as_its_tokenizer_stays_as_it_is(
    tmp_path: Path, logged: Callable[[], str]
) -> None:
    write_folder(tmp_path)
    before, after = AutoModelForCausalLM.from_pretrained(tmp_path), load_model(tmp_path)
    assert all(
        torch.equal(a, b) for a, b in zip(before.parameters(), after.parameters(), strict=True)
    )
    assert not logged()


def test_a_model_smaller_than_its_tokenizer_is_refused(tmp_path: Path) -> None:
    write_model(tmp_path)
    write_tokenizer(tmp_path, spare=4)
    with pytest.raises(ModelError, match=f"ids up to {TOKENS + 3}.*vocabulary of {TOKENS}"):
        load_model(tmp_path)


def test_transformers_sampler_too(padded: Path) -> None:
    sampler = TransformersSampler(load_model(padded), slots=8)
    requests = [Request((5, 9, 40), 16, (1,))]
    (group,) = sampler.generate(requests, SamplingParams(24, frozenset({0})))
    assert all(token < TOKENS for c in group for token in c.ids)


# Prompts -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("begins", [False, True])
@pytest.mark.parametrize("ends", [False, True])
@pytest.mark.parametrize("text", ["2+3?", "<|begin|>2+3?", "a", "", "<|begin|>"])
def test_prompts_begin_once_and_do_not_end(
    begins: bool, ends: bool, text: str, tmp_path: Path, logged: Callable[[], str]
) -> None:
    write_tokenizer(tmp_path, begins=begins, ends=ends)
    tokenizer = load_tokenizer(tmp_path)
    (ids,) = encode_prompts(tokenizer, [text])
    bare = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert ids == ([1] if begins and bare[:1] != [1] else []) + bare
    assert 0 not in ids and ids.count(1) <= 1
    assert ("after every text" in logged()) == ends


def test_a_template_that_loops_holds_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokenizer_probe, "CPU_SECONDS", 1)
    write_tokenizer(tmp_path)
    loop = "{% for i in range(99999) %}" * 3 + "{% endfor %}" * 3
    (tmp_path / "chat_template.jinja").write_text(loop)
    with pytest.raises(ModelError, match="stall every stage"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize(
    "text", ["{{ raise_exception('no') }}", "{% if %}", "{{ 1 / 0 }}", "{{ x.y.z }}"]
)
def test_a_template_that_fails_is_told_when_it_is_used(text: str, tmp_path: Path) -> None:
    folder = write_folder(tmp_path)
    scorer = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1)
    scorer.save_pretrained(folder)
    (folder / "chat_template.jinja").write_text(text)
    with pytest.raises(ModelError, match="chat template of the reward model"):
        RewardModel.load(folder).score([[Turn("user", "2+3?")]], ["5"])


@pytest.mark.parametrize(
    "entry", [{"template": "plain"}, {"template": "nothing", "sees": "answer"}, {"template": "plain", "sees": 5}, {"x": 1}]
)  # fmt: skip
def test_what_a_reward_model_sees_is_checked(entry: dict[str, object], tmp_path: Path) -> None:
    folder = write_folder(tmp_path)
    scorer = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1)
    scorer.config.dianoia_reward_model = entry
    scorer.save_pretrained(folder)
    with pytest.raises(ModelError, match="dianoia_reward_model"):
        RewardModel.load(folder)


# Reward models -----------------------------------------------------------------------------------


def test_up_to_the_reward() -> None:
    assert up_to_reward((1, 2, 0, 0), 0) == (1, 2)
    assert up_to_reward((1, 0, 2), 0) == (1, 0, 2)
    assert up_to_reward((0, 0), 0) == (0,)
    assert up_to_reward((1, 2), 9) == (1, 2)


@pytest.mark.parametrize("make", [write_folder, write_qwen2])
@pytest.mark.parametrize("pad", [0, 7])
def test_every_path_reads_the_reward_where_transformers_does(
    make: Callable[[Path], Path], pad: int, tmp_path: Path
) -> None:
    folder = make(tmp_path)
    torch.manual_seed(1)
    scorer = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1)
    with torch.no_grad():
        scorer.score.weight.normal_()
    scorer.save_pretrained(folder)
    model, tokenizer = load_reward_model(folder), load_tokenizer(folder)
    prepare_padding(model, tokenizer)
    assert tokenizer.pad_token_id == 0, "the end token"
    model.config.pad_token_id = pad
    texts = [(5, 6, 7, 8, 0), (5, 6, 7, 8), (5, 6, 7, 8, 0, 0), (9, 0, 9), (0,), (5, 7), (7, 7)]
    with torch.no_grad():
        shared, plain = forward(model, texts, shared=True), forward(model, texts, shared=False)
        alone = [float(model(input_ids=torch.tensor([ids])).logits[0, 0]) for ids in texts]
    assert Rewarder(model, 64).shared, "the shared path is the usual one"
    assert torch.allclose(shared, plain, atol=1e-5)
    assert torch.allclose(shared, torch.tensor(alone), atol=1e-5)
    assert Rewarder(model, 64)(texts) == pytest.approx(alone, abs=1e-5)
    if pad == 0:
        assert alone[0] == pytest.approx(alone[1], abs=1e-5)


def test_saved_and_loaded(tmp_path: Path) -> None:
    write_model(tmp_path, tied=False)
    weights = load_file(tmp_path / WEIGHTS)
    loaded = load_model(tmp_path, dtype=torch.float64)
    assert not loaded.training
    assert loaded.dtype == torch.float64
    assert all(torch.equal(loaded.state_dict()[name], weights[name].double()) for name in weights)


def test_a_missing_folder_says_so(tmp_path: Path) -> None:
    for name in (tmp_path / "nowhere", str(tmp_path), "./nowhere"):
        with pytest.raises(ModelError, match=r"config\.json is missing.*Check the path"):
            load_model(name)
        with pytest.raises(ModelError, match="no tokenizer"):
            load_tokenizer(name)


def test_an_unreadable_model_says_so(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "no-such-architecture"}')
    with pytest.raises(ModelError, match=r"cannot be loaded.*no-such-architecture"):
        load_model(tmp_path)


def test_tokenizer(tmp_path: Path) -> None:
    inner = Tokenizer(WordLevel({"<unk>": 0, "a": 1}, unk_token="<unk>"))
    PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="<unk>").save_pretrained(tmp_path)
    assert load_tokenizer(tmp_path).encode("a") == [1]
