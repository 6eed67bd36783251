"""Folders of weights: whole, untied, loadable by transformers, and gone afterwards."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from dianoia.base.errors import MachineFault, ModelError
from dianoia.sampler.served import weight_folders
from dianoia.sampler.served.streamed_model import StreamedModel
from dianoia.sampler.served.weight_folders import WeightFolders
from tests.unit.sampler_models import forward_logprobs, make

MODEL = make("qwen3-tied")


@pytest.fixture
def folders(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> Callable[..., WeightFolders]:
    shapes = StreamedModel(MODEL.config).parameters
    return lambda dtype=torch.float32: WeightFolders(
        MODEL.config, shapes, tokenizer, tmp_path / "weights", tmp_path, dtype
    )


def test_a_version_is_an_untied_model_with_the_same_answers(
    folders: Callable[..., WeightFolders], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weight_folders, "_FILE_BYTES", 20_000)  # several files
    made = folders()
    folder = made.write("v1", MODEL.state_dict(), with_tokenizer=True)
    assert len([*folder.glob("*.safetensors")]) > 2 and (folder / "tokenizer.json").is_file()
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert not model.config.tie_word_embeddings
    assert model.lm_head.weight.data_ptr() != model.model.embed_tokens.weight.data_ptr()
    assert forward_logprobs(model, (4, 9), (7, 2)) == forward_logprobs(MODEL, (4, 9), (7, 2))
    assert torch.equal(made.read(folder)["lm_head.weight"], MODEL.lm_head.weight)
    assert all(file.stat().st_mode & 0o044 for file in folder.iterdir()), "others read them"
    made.remove_others(made.write("v2", MODEL.state_dict()))
    assert [path.name for path in made.folder.iterdir()] == ["v2"]
    made.close()
    assert not made.folder.parent.exists()


def test_bfloat16_weights_are_written_as_such(folders: Callable[..., WeightFolders]) -> None:
    made = folders(torch.bfloat16)
    folder = made.write("v1", MODEL.state_dict())
    assert {tensor.dtype for tensor in made.read(folder).values()} == {torch.bfloat16}


def test_a_folder_that_is_not_whole_is_not_named_to_a_server(
    folders: Callable[..., WeightFolders],
) -> None:
    made = folders()
    weights = dict(MODEL.state_dict())
    del weights["model.norm.weight"]
    with pytest.raises(ModelError, match=r"no parameter 'model\.norm\.weight'"):
        made.write("v1", weights)
    folder = made.write("v2", MODEL.state_dict())
    (file,) = folder.glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:-1000])
    with pytest.raises(ModelError, match="cannot be read back"):
        made.check(folder)
    file.unlink()
    with pytest.raises(ModelError, match="tensors are missing.*keep the older ones without a word"):
        made.check(folder)


def test_folders_of_a_killed_process_are_removed_and_those_of_others_stay(
    folders: Callable[..., WeightFolders], tmp_path: Path
) -> None:
    first = folders()
    parent = first.folder.parent
    host = first.folder.name.partition(f"{os.getpid()}")[0]
    (killed := parent / f"{host}999999999-ab").mkdir()
    (elsewhere := parent / "other-host-1-ab").mkdir()
    folders()
    assert not killed.exists() and first.folder.is_dir() and elsewhere.is_dir()


def test_too_little_room_is_said_before_anything_is_written(
    folders: Callable[..., WeightFolders], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weight_folders, "free_bytes", lambda _: 1e5)
    with pytest.raises(MachineFault, match="3 versions of the weights take.*rollouts.weights"):
        folders()
