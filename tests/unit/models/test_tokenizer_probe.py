"""A tokenizer is tried once per content, in whatever folder it lies."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from dianoia.models import tokenizer_probe
from dianoia.models.tokenizer_probe import tokenizer_size


@pytest.fixture
def trials(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The programs that were started."""
    programs: list[str] = []
    start = subprocess.run

    def counted(command: list[str], **options: Any) -> object:
        programs.append(command[-1])
        return start(command, **options)

    monkeypatch.setattr(tokenizer_probe, "_sizes", {})
    monkeypatch.setattr(tokenizer_probe.subprocess, "run", counted)
    return programs


def test_a_copy_of_a_tokenizer_is_not_tried_again(
    folder: Path, tmp_path: Path, trials: list[str]
) -> None:
    for name in ("first", "second", "third"):
        shutil.copytree(folder, tmp_path / name)
    size = tokenizer_size(tmp_path / "first")
    assert size is not None and size > 0
    assert tokenizer_size(tmp_path / "second") == size and len(trials) == 1
    (tmp_path / "third/chat_template.jinja").write_text("{{ messages[0].content }}")
    assert tokenizer_size(tmp_path / "third") == size and len(trials) == 2


def test_a_refusal_names_the_folder(tmp_path: Path, trials: list[str]) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "tokenizer.json").write_text("{}")
        with pytest.raises(tokenizer_probe.ModelError, match=f"{name}/tokenizer.json: the tok"):
            tokenizer_size(tmp_path / name)
    assert len(trials) == 2
