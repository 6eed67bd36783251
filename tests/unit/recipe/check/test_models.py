"""Model folders that a disk, a download or a stranger has damaged: refused at the plan, in one line that names the file."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification

from dianoia.base.errors import ModelError
from dianoia.models import tokenizer_probe
from dianoia.recipe import load_recipe
from dianoia.recipe.check.inputs import check_inputs
from dianoia.recipe.check.models import has_architecture
from tests.unit.model_folders import write_folder, write_model, write_qwen2, write_tokenizer

Write = Callable[..., Path]
Change = Callable[[Path], None]

WEIGHTS = "model.safetensors"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "model")


@pytest.fixture
def refusal(write: Write) -> Callable[[Path], str]:
    """Return the message with which a plan refuses a folder; a run must refuse it with the same."""

    def refusal(folder: Path) -> str:
        recipe = load_recipe(write(), [f"zero.start={folder}"])
        message = []
        for planned in (True, False):
            with pytest.raises(ModelError) as caught:
                check_inputs(recipe, planned)
            message.append(str(caught.value))
        assert message[0] == message[1] and "\n" not in message[0]
        assert message[0].startswith("stages.zero: ") and str(folder) in message[0]
        return message[0]

    return refusal


@pytest.mark.parametrize(
    "make", [write_folder, lambda f: write_folder(f, tied=False), lambda f: write_folder(f, max_shard_size="8KB"),
             write_qwen2, lambda f: write_folder(f, vocabulary=128)],
)  # fmt: skip
def test_a_whole_folder_is_taken(make: Change, tmp_path: Path, write: Write) -> None:
    make(tmp_path / "model")
    check_inputs(load_recipe(write(), [f"zero.start={tmp_path / 'model'}"]))


def cut(name: str, size: int | float) -> Change:
    def change(folder: Path) -> None:
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(
            data[: int(size * len(data)) if isinstance(size, float) else size]
        )

    return change


def text(name: str, content: str | bytes) -> Change:
    data = content.encode() if isinstance(content, str) else content
    return lambda folder: void((folder / name).write_bytes(data))


def void(_: object) -> None:
    pass


def gone(name: str) -> Change:
    return lambda folder: (folder / name).unlink()


def edit_tokenizer(**entries: Any) -> Change:
    def edit(folder: Path) -> None:
        file = folder / "tokenizer.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | entries))

    return edit


def replaces(content: str, times: int) -> dict[str, Any]:
    normalizer = {"type": "Replace", "pattern": {"String": "a"}, "content": content}
    return {"type": "Sequence", "normalizers": [normalizer] * times}


SEARCHES = {
    "type": "Replace",
    "pattern": {"Regex": "(?:[^#]|[^#])*(?=[0-9]{9})"},
    "content": "",
}


POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 3549440\n"


@pytest.mark.parametrize(
    ("name", "change", "why"),
    [
        (WEIGHTS, cut(WEIGHTS, 0), "0 bytes"),
        (WEIGHTS, cut(WEIGHTS, 5), "5 bytes"),
        (WEIGHTS, cut(WEIGHTS, 200), "header is incomplete"),
        (WEIGHTS, cut(WEIGHTS, 0.5), "damaged or incomplete"),
        (WEIGHTS, cut(WEIGHTS, -1), "would end at byte"),
        (WEIGHTS, text(WEIGHTS, POINTER), "Git LFS pointer"),
        (WEIGHTS, text(WEIGHTS, b"\0" * 4096), "damaged"),
        (WEIGHTS, text(WEIGHTS, b"\xff" * 4096), "damaged"),
        (WEIGHTS, text(WEIGHTS, (50).to_bytes(8, "little") + b"[" * 50), "header is not JSON"),
        (WEIGHTS, text(WEIGHTS, (2).to_bytes(8, "little") + b"[]"), "no JSON object"),
        (WEIGHTS, text(WEIGHTS, (2).to_bytes(8, "little") + b"{}"), "no tensor"),
        (WEIGHTS, gone(WEIGHTS), "is missing"),
        ("config.json", text("config.json", ""), "it is empty"),
        ("config.json", text("config.json", "[]"), "a list, not a JSON object"),
        ("config.json", text("config.json", "null"), "a NoneType, not a JSON object"),
        ("config.json", text("config.json", "{}"), "no model_type"),
        ("config.json", text("config.json", '{"model_type": 5}'), "no model_type"),
        ("config.json", cut("config.json", 0.5), "not valid JSON"),
        ("config.json", text("config.json", "[" * 10_000), "nested"),
        ("config.json", text("config.json", b"\xff\xfe{\0}\0"), "UTF-16"),
        ("config.json", text("config.json", '{"a": ' + "7" * 5000 + "}"), "4,300 digits"),
        ("config.json", text("config.json", " " * 2**23), "8,388,608 bytes"),
        ("config.json", text("config.json", '{"model_type": "qwen3"}'), "hidden_size"),
        ("config.json", text("config.json", POINTER), "Git LFS pointer"),
        ("tokenizer.json", gone("tokenizer.json"), "is missing"),
        ("tokenizer.json", text("tokenizer.json", ""), "it is empty"),
        ("tokenizer.json", text("tokenizer.json", "{}"), "cannot be read or used"),
        ("tokenizer.json", edit_tokenizer(normalizer=SEARCHES), "retry-limit"),
        ("tokenizer.json", cut("tokenizer.json", 0.5), "not valid JSON"),
        ("tokenizer.json", text("tokenizer.json", POINTER), "Git LFS pointer"),
        ("tokenizer_config.json", gone("tokenizer_config.json"), "is missing"),
        ("tokenizer_config.json", text("tokenizer_config.json", "[]"), "a list"),
        ("generation_config.json", text("generation_config.json", "{"), "not valid JSON"),
    ],
)  # fmt: skip
def test_a_damaged_file_is_named(
    name: str, change: Change, why: str, folder: Path, refusal: Callable[[Path], str]
) -> None:
    change(folder)
    message = refusal(folder)
    assert str(folder / name) in message and why in message


def test_a_download_that_broke_off_is_told(folder: Path, refusal: Callable[[Path], str]) -> None:
    hidden = folder / ".cache" / "huggingface" / "download"
    hidden.mkdir(parents=True)
    (folder / WEIGHTS).rename(hidden / "model.safetensors.4d7a.incomplete")
    assert "4d7a.incomplete" in refusal(folder)


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("config.json", "architectures", float("nan")),
        ("config.json", "architectures", [1]),
        ("config.json", "text_config", True),
        ("config.json", "max_position_embeddings", [None]),
        ("config.json", "max_position_embeddings", -1),
        ("config.json", "rms_norm_eps", float("nan")),
        ("config.json", "vocab_size", "many"),
        ("config.json", "num_hidden_layers", 10**30),
        ("config.json", "hidden_size", 1.5),
        ("config.json", "eos_token_id", {"a": 1}),
        ("config.json", "id2label", [1]),
        ("generation_config.json", "eos_token_id", 1.5),
        ("generation_config.json", "eos_token_id", [[1]]),
        ("tokenizer_config.json", "model_max_length", [1]),
    ],
)
def test_a_value_of_another_kind_is_named(
    name: str, key: str, value: object, folder: Path, refusal: Callable[[Path], str]
) -> None:
    entries = json.loads((folder / name).read_text()) | {key: value}
    (folder / name).write_text(json.dumps(entries))
    message = refusal(folder)
    assert str(folder / name) in message and f"{key} = " in message


# Shards ------------------------------------------------------------------------------------------

INDEX = "model.safetensors.index.json"


def edit_index(change: Callable[[dict[str, Any]], object]) -> Change:
    def edit(folder: Path) -> None:
        index = json.loads((folder / INDEX).read_text())
        change(index)
        (folder / INDEX).write_text(json.dumps(index))

    return edit


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (gone("model-00002-of-00004.safetensors"), "model-00002-of-00004.safetensors: this weight file is missing"),
        (cut("model-00002-of-00004.safetensors", 0.5), "model-00002-of-00004.safetensors"),
        (text("model-00001-of-00004.safetensors", POINTER), "Git LFS pointer"),
        (text(INDEX, ""), "it is empty"),
        (text(INDEX, "[]"), "a list"),
        (text(INDEX, "{}"), "lists no weight file"),
        (edit_index(lambda index: index.update(weight_map=[])), "lists no weight file"),
        (edit_index(lambda index: index["weight_map"].update(x="../secret")), "no file of this folder"),
        (edit_index(lambda index: index["weight_map"].update(x=5)), "no file of this folder"),
        (edit_index(lambda index: index["weight_map"].update({"model.x": "model-00001-of-00004.safetensors"})), "model.x"),
    ],
)  # fmt: skip
def test_shards(change: Change, why: str, tmp_path: Path, refusal: Callable[[Path], str]) -> None:
    folder = write_folder(tmp_path / "model", max_shard_size="24KB")
    assert len(list(folder.glob("model-*.safetensors"))) == 4
    change(folder)
    assert why in refusal(folder)


@pytest.mark.parametrize(
    "name", ["pytorch_model.bin", "pytorch_model-00001-of-00002.bin", "model.pt"]
)
def test_pickles_are_not_opened(name: str, folder: Path, refusal: Callable[[Path], str]) -> None:
    (folder / WEIGHTS).unlink()
    (folder / name).write_bytes(b"cos\nsystem\n(S'touch opened'\ntR.")
    message = refusal(folder)
    assert name in message and "pickle" in message and "safetensors" in message


# Tensors -----------------------------------------------------------------------------------------


def edit_tensors(change: Callable[[dict[str, torch.Tensor]], object]) -> Change:
    def edit(folder: Path) -> None:
        tensors = load_file(folder / WEIGHTS)
        change(tensors)
        save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})

    return edit


LAYER = "model.layers.1."
QUERY = LAYER + "self_attn.q_proj.weight"


def drop_layer(tensors: dict[str, torch.Tensor]) -> None:
    for name in [name for name in tensors if name.startswith(LAYER)]:
        del tensors[name]


def fill(name: str, value: float, dtype: torch.dtype = torch.float32) -> Change:
    def change(tensors: dict[str, torch.Tensor]) -> None:
        tensors[name] = tensors[name].to(dtype)
        tensors[name].view(-1)[-1] = value

    return edit_tensors(change)


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (edit_tensors(drop_layer), ["lack the tensors", LAYER, "and 8 more", "at random"]),
        (edit_tensors(lambda t: t.pop(QUERY)), ["lack the tensors " + QUERY]),
        (edit_tensors(lambda t: t.pop("model.embed_tokens.weight")), ["model.embed_tokens.weight"]),
        (edit_tensors(lambda t: t.pop("model.norm.weight")), ["model.norm.weight"]),
        (edit_tensors(lambda t: t.update({"model.layers.2.mlp.up_proj.weight": torch.zeros(2)})), ["hold the tensors model.layers.2"]),
        (edit_tensors(lambda t: t.update({"visual.patch": torch.zeros(2)})), ["hold the tensors visual.patch"]),
        (edit_tensors(lambda t: t.update({QUERY: torch.zeros(32, 31)})), [QUERY, "[32, 31]", "[32, 32]"]),
        (edit_tensors(lambda t: t.update({QUERY: torch.zeros(1024)})), [QUERY, "[1024]", "[32, 32]"]),
        (fill(QUERY, float("nan")), [QUERY, "NaN or infinity"]),
        (fill(QUERY, float("inf")), [QUERY, "NaN or infinity"]),
        (fill(QUERY, float("-inf"), torch.bfloat16), [QUERY, "NaN or infinity"]),
        (fill(QUERY, float("nan"), torch.bfloat16), [QUERY, "NaN or infinity"]),
        (fill(QUERY, float("nan"), torch.float16), [QUERY, "NaN or infinity"]),
        (fill(QUERY, float("nan"), torch.float64), [QUERY, "NaN or infinity"]),
        (fill("model.norm.weight", float("nan")), ["model.norm.weight", "NaN or infinity"]),
    ],
)  # fmt: skip
def test_tensors_are_named(
    change: Change, parts: list[str], folder: Path, refusal: Callable[[Path], str]
) -> None:
    change(folder)
    message = refusal(folder)
    for part in parts:
        assert part in message


def test_a_head_of_its_own_is_needed_where_it_is_not_tied(
    tmp_path: Path, refusal: Callable[[Path], str]
) -> None:
    folder = write_qwen2(tmp_path / "model")
    edit_tensors(lambda tensors: tensors.pop("lm_head.weight"))(folder)
    assert "lack the tensors lm_head.weight" in refusal(folder)


def test_a_backbone_by_itself_has_no_head(tmp_path: Path, refusal: Callable[[Path], str]) -> None:
    folder = write_qwen2(tmp_path / "model")

    def bare(tensors: dict[str, torch.Tensor]) -> None:
        size = {k.removeprefix("model."): v for k, v in tensors.items() if k != "lm_head.weight"}
        tensors.clear()
        tensors.update(size)

    edit_tensors(bare)(folder)
    assert "lack the tensors lm_head.weight" in refusal(folder)


def test_old_folders_hold_frequencies_too(folder: Path, write: Write) -> None:
    edit_tensors(lambda t: t.update({LAYER + "self_attn.rotary_emb.inv_freq": torch.ones(8)}))(
        folder
    )
    check_inputs(load_recipe(write(), [f"zero.start={folder}"]))


# Reward models -----------------------------------------------------------------------------------

REWARD = """
name = "rewarding"
[stages.zero]
kind = "rl"
start = "{start}"
problems = "miniature/math"
steps = 2
problems_per_rollout = 2
group_size = 2
minibatches = 1
[stages.zero.optimizer]
learning_rate = 1e-3
[stages.zero.sampling]
max_tokens = 8
[stages.zero.rewards]
models = [{{ name = "liked", model = "{judge}" }}]
"""


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (edit_tensors(lambda t: t.pop("score.weight")), "lack the tensors score.weight"),
        (edit_tensors(lambda t: t.update({"score.weight": torch.zeros(2, 32)})), "[2, 32]"),
        (fill("score.weight", float("nan")), "NaN or infinity"),
        (cut(WEIGHTS, 0.5), "damaged or incomplete"),
    ],
)
def test_a_reward_model(change: Change, why: str, tmp_path: Path) -> None:
    start, judge = write_folder(tmp_path / "start"), write_folder(tmp_path / "judge")
    scorer = AutoModelForSequenceClassification.from_pretrained(judge, num_labels=1)
    scorer.save_pretrained(judge)
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(REWARD.format(start=start, judge=judge))
    check_inputs(load_recipe(recipe))
    change(judge)
    with pytest.raises(ModelError) as caught:
        check_inputs(load_recipe(recipe))
    assert why in str(caught.value) and str(judge) in str(caught.value)


# Code and architectures --------------------------------------------------------------------------


def test_architectures_are_those_of_transformers() -> None:
    assert all(map(has_architecture, ["qwen2", "qwen3", "llama", "gpt2", "gemma3_text"]))
    assert not has_architecture("no-such-architecture")


@pytest.mark.parametrize("map_", [True, False])
def test_an_architecture_that_brings_its_code(
    map_: bool, folder: Path, refusal: Callable[[Path], str]
) -> None:
    config = json.loads((folder / "config.json").read_text()) | {"model_type": "hostile"}
    if map_:
        config["auto_map"] = {"AutoConfig": "code.C", "AutoModelForCausalLM": "code.M"}
    (folder / "config.json").write_text(json.dumps(config))
    message = refusal(folder)
    assert "no architecture 'hostile'" in message and ("never run" in message) == map_


# Tokenizers --------------------------------------------------------------------------------------


def template(content: str) -> Change:
    return text("chat_template.jinja", content)


LOOP = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"


@pytest.mark.parametrize(
    "change",
    [
        edit_tokenizer(normalizer=replaces("aa", 40)),
        edit_tokenizer(normalizer=replaces("a" * 10**6, 1)),
        edit_tokenizer(decoder={"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 10**6}),
        template(LOOP),
        template("{{ 'x' * 5000000 }}"),
        template("{% for i in range(99999) %}{{ 'x' * 9999 }}{% endfor %}"),
        template("{% for m in messages %}" + "{% for i in range(90000) %}x{% endfor %}" * 20 + "{% endfor %}"),
        template("{# " + "x" * 2**21 + " #}"),
    ],
)  # fmt: skip
def test_what_expands_or_loops_is_refused(
    change: Change, folder: Path, refusal: Callable[[Path], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokenizer_probe, "CPU_SECONDS", 1)
    monkeypatch.setattr(tokenizer_probe, "MEMORY_BYTES", 2**30)
    change(folder)
    began = time.monotonic()
    message = refusal(folder)
    assert "stall every stage" in message or "absurd" in message or "chat template of" in message
    assert time.monotonic() - began < 60


@pytest.mark.parametrize(
    "content",
    ["{{ messages[0].nothing.at.all }}", "{% if %}", "{{ raise_exception('no') }}", "{{ 1 / 0 }}"],
)
def test_a_template_that_fails_is_none_of_ours(content: str, folder: Path, write: Write) -> None:
    template(content)(folder)
    check_inputs(load_recipe(write(), [f"zero.start={folder}"]))


def test_a_tokenizer_with_more_ids_than_the_model(
    tmp_path: Path, refusal: Callable[[Path], str]
) -> None:
    folder = tmp_path / "model"
    write_model(folder)
    write_tokenizer(folder, spare=7)
    message = refusal(folder)
    assert "ids up to 105" in message and "vocabulary of 99" in message
