"""Files behind every kind of name."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from huggingface_hub import constants

from dianoia.base.errors import ConfigError
from dianoia.config import DataSettings, FileSettings
from dianoia.models import hub_config
from dianoia.tasks.catalog import FileProblems, problem_source
from dianoia.tasks.data import locations as places
from dianoia.tasks.data.locations import DataMissing, files_of, is_hub_name
from tests.unit.tasks.data.data_files import saved, sums, write


def names(path: Path, split: str | None = None) -> list[str]:
    files = files_of(FileSettings(path=str(path), split=split))
    return [str(file.relative_to(path)) for file in files]


def test_a_saved_set(tmp_path: Path) -> None:
    folder = saved(tmp_path / "set", sums(5))
    assert names(folder) == ["data-00000-of-00002.arrow", "data-00001-of-00002.arrow"]
    source = problem_source(str(folder))
    assert isinstance(source, FileProblems) and source.summary.rows == 5
    with pytest.raises(ConfigError, match="holds a single set without splits"):
        names(folder, "train")


@pytest.mark.parametrize(
    "text", ["", "[]", '"a"', "{}", '{"_data_files": 5}', '{"_data_files": [5]}', '{"_data_files": [{"filename": 5}]}']
)  # fmt: skip
@pytest.mark.parametrize("name", ["state.json", "dataset_dict.json"])
def test_a_damaged_list_of_files(name: str, text: str, tmp_path: Path) -> None:
    folder = saved(tmp_path / "set", sums(5))
    (folder / name).write_text(text.replace("_data_files", "splits") if "dict" in name else text)
    with pytest.raises(ConfigError, match=name):
        names(folder)


def test_a_saved_set_that_lacks_a_file(tmp_path: Path) -> None:
    folder = saved(tmp_path / "set", sums(5))
    (folder / "data-00001-of-00002.arrow").unlink()
    with pytest.raises(ConfigError, match="lacks its file 'data-00001-of-00002.arrow'"):
        names(folder)


def test_a_saved_set_of_several_splits(tmp_path: Path) -> None:
    for split in ("train", "test"):
        saved(tmp_path / split, sums(4))
    marks = tmp_path / "dataset_dict.json"
    marks.write_text(json.dumps({"splits": ["train", "test"]}))
    assert names(tmp_path)[0] == "train/data-00000-of-00002.arrow"
    assert names(tmp_path, "test")[0] == "test/data-00000-of-00002.arrow"
    with pytest.raises(ConfigError, match=r"split = 'tset': .* train, test \(did you mean 'test'"):
        names(tmp_path, "tset")
    marks.write_text(json.dumps({"splits": ["test", "validation"]}))
    with pytest.raises(ConfigError, match="has the splits test, validation"):
        names(tmp_path)


def test_a_folder_of_files(tmp_path: Path) -> None:
    for name in ("train-00000-of-00002", "train-00001-of-00002", "test-00000-of-00001"):
        write(tmp_path / "data" / f"{name}.parquet", sums(1))
    assert names(tmp_path) == [f"data/train-0000{n}-of-00002.parquet" for n in (0, 1)]
    assert names(tmp_path, "test") == ["data/test-00000-of-00001.parquet"]


def test_a_folder_of_files_without_splits_is_one_set(tmp_path: Path) -> None:
    for name in ("geometry", "algebra"):
        write(tmp_path / f"{name}.jsonl", sums(1))
    assert names(tmp_path) == ["algebra.jsonl", "geometry.jsonl"]
    write(tmp_path / "more.csv", sums(1))
    with pytest.raises(ConfigError, match=r"files of several formats \(.csv, .jsonl\)"):
        names(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="holds no file of problems"):
        names(tmp_path / "empty")


@pytest.mark.parametrize("path", ["none.jsonl", "no/file.jsonl", "/no/where", "a/b/c"])
def test_what_is_not_there(path: str) -> None:
    with pytest.raises(DataMissing, match="no such file or folder"):
        files_of(FileSettings(path=path))


def test_hub_names() -> None:
    assert is_hub_name("openai/gsm8k")
    assert not any(map(is_hub_name, ("gsm8k", "./a/b", "../b", "~/a", "/a", "a/b/c")))


class Hub:
    """Stands for Hugging Face's `datasets`: what is asked of it, and what it answers."""

    exceptions = SimpleNamespace(DatasetsError=KeyError)

    def __init__(self, answer: list[Path] | Exception) -> None:
        self.answer, self.asked = answer, []  # type: ignore[var-annotated]

    def load_dataset(self, name: str, config: str | None, *, split: str) -> Any:
        self.asked.append((name, config, split))
        if isinstance(self.answer, Exception):
            raise self.answer
        return SimpleNamespace(cache_files=[{"filename": str(path)} for path in self.answer])


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Hub:
    places._from_hub.cache_clear()
    file = write(tmp_path / "gsm8k-train.arrow", [{"question": "1+1?", "answer": "Add.\n#### 2"}])
    result = Hub([file])
    monkeypatch.setitem(sys.modules, "datasets", result)  # type: ignore[arg-type]
    return result


def test_a_known_hub_name_has_its_configuration_and_its_mapping(hub: Hub) -> None:
    source = problem_source("openai/gsm8k", whole_file=True)
    (problem,) = source.heldout(5)
    assert hub.asked == [("openai/gsm8k", "main", "train")]
    assert (problem.answer, problem.verifier) == ("2", "math")
    assert problem.columns["solution"] == "Add."


def test_without_a_connection_the_cache_alone_is_asked(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hugging Face's libraries would retry for minutes, and a plan asks for every set."""
    offline = []
    load = hub.load_dataset

    def ask(*arguments: Any, **options: Any) -> Any:
        offline.append(constants.HF_HUB_OFFLINE)
        return load(*arguments, **options)

    monkeypatch.setattr(hub, "load_dataset", ask)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    for failure in ("the hub was not reached, ConnectError", None):
        places._from_hub.cache_clear()
        monkeypatch.setattr(hub_config, "_hub_failure", lambda failure=failure: failure)
        files_of(FileSettings(path="openai/gsm8k"))
        assert constants.HF_HUB_OFFLINE is False, "put back"
    assert offline == [True, False]


def test_a_table_says_otherwise(hub: Hub) -> None:
    files_of(FileSettings(path="openai/gsm8k", config="socratic", split="test"))
    files_of(FileSettings(path="someone/else"))
    assert hub.asked == [("openai/gsm8k", "socratic", "test"), ("someone/else", None, "train")]
    with pytest.raises(ConfigError, match=r"split = 'train\[:10\]': name a whole split"):
        files_of(FileSettings(path="openai/gsm8k", split="train[:10]"))


@pytest.mark.parametrize(
    ("error", "error_class", "message"),
    [
        (ConnectionError("no way"), DataMissing, "as a hub name it cannot be fetched (no way)"),
        (
            ValueError("Config name is missing"),
            ConfigError,
            "it was refused: Config name is missing",
        ),
    ],
)
def test_what_the_hub_refuses(
    hub: Hub, error: Exception, error_class: type[Exception], message: str
) -> None:
    hub.answer = error
    with pytest.raises(error_class) as caught:
        files_of(FileSettings(path="someone/else"))
    assert message in str(caught.value) and type(caught.value) is error_class


def test_without_datasets_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    places._from_hub.cache_clear()
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataMissing, match=r"pip install 'dianoia-r1\[data\]'"):
        files_of(FileSettings(path="openai/gsm8k"))


def test_what_datasets_itself_saves_is_read(tmp_path: Path) -> None:
    """With the real library, where it is installed."""
    datasets = pytest.importorskip("datasets")
    whole = datasets.Dataset.from_list(sums(7))
    datasets.DatasetDict(train=whole, test=whole.select(range(2))).save_to_disk(tmp_path / "set")
    whole.to_parquet(tmp_path / "loose" / "data" / "train-00000-of-00001.parquet")
    for folder, split, count in (("set", None, 7), ("set", "test", 2), ("loose", "train", 7)):
        data = DataSettings(path=str(tmp_path / folder), split=split)
        assert len(problem_source(data, whole_file=True).heldout(100)) == count
