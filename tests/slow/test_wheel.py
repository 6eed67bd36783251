"""The wheel as a user has it: built, installed into an environment of its own, used in an empty folder without a clone.

The environment sees the packages of this one, so that PyTorch is not installed again; of Dianoia it has the wheel alone.
"""

import json
import os
import subprocess
import sys
import sysconfig
import urllib.request
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.servers.conftest import serving

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.slow


def run(
    command: Sequence[str | Path], folder: Path, status: int = 0, words: str = ""
) -> subprocess.CompletedProcess[str]:
    # Nothing of this checkout may be on the path.
    environment = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        input=words,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", folder, ROOT]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    if done.returncode and "No matching distribution" in done.stdout + done.stderr:
        pytest.skip("the package index, from which the build takes hatchling, is not reachable")
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def dianoia(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The installed command."""
    folder = tmp_path_factory.mktemp("environment")
    run([sys.executable, "-m", "venv", "--without-pip", folder], folder)
    python = folder / "bin/python"
    site = Path(
        run([python, "-c", "import site; print(site.getsitepackages()[0])"], folder).stdout.strip()
    )
    (site / "others.pth").write_text(f"{sysconfig.get_path('purelib')}\n", encoding="utf-8")
    pip = [sys.executable, "-m", "pip", "--python", python]
    run([*pip, "install", "--no-deps", "--no-index", wheel], folder)
    where = run([python, "-c", "import dianoia; print(dianoia.__file__)"], folder).stdout
    assert where.startswith(str(site))
    return folder / "bin/dianoia"


def test_the_wheel_holds_what_ships(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder, ending in (("recipes", "toml"), ("examples", "*"), ("docs", "md")):
        here = [path for path in (ROOT / folder).rglob(f"*.{ending}") if path.is_file()]
        files = {f"dianoia/{path.relative_to(ROOT).as_posix()}" for path in here}
        assert files and {name for name in files if "__pycache__" not in name} <= names
    package = [path for path in (ROOT / "dianoia").rglob("*") if path.is_file()]
    files = {
        path.relative_to(ROOT).as_posix() for path in package if "__pycache__" not in path.parts
    }
    assert files <= names and "dianoia/bases/miniature-base/model.safetensors" in files
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/", "scripts/"))]


def test_the_package_index_can_resolve_it(wheel: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed"]
    done = subprocess.run(
        [*command, "--no-deps", "--report", "-", "--quiet", wheel],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    (item,) = json.loads(done.stdout)["install"]
    metadata = item["metadata"]
    assert metadata["name"] == "dianoia-r1"
    assert "](docs/" not in metadata["description"] and "dianoia demo" in metadata["description"]


def test_it_works_in_an_empty_folder(dianoia: Path, tmp_path: Path) -> None:
    plan = json.loads(run([dianoia, "demo", "--dry-run", "--json"], tmp_path).stdout)
    assert plan["recipe"] == "miniature-r1" and not plan["missing"]
    assert not list(tmp_path.iterdir())
    small = [
        *("--set", "zero.steps=2", "--set", "zero.group_size=4", "--set", "zero.problems_per_rollout=8"),
        *("--set", "zero.progress.problems=8", "--set", "evaluation.limit=16", "--set", "evaluation.samples=2"),
    ]  # fmt: skip
    outcome = json.loads(run([dianoia, "run", "miniature-zero", *small, "--json"], tmp_path).stdout)
    assert outcome["run"] == "runs/miniature-zero" and outcome["results"]["evaluations"]["zero"]
    run([dianoia, "report", "runs/miniature-zero"], tmp_path)
    assert (tmp_path / "runs/miniature-zero/report.html").stat().st_size > 100_000
    question = "Tom has 3 apples, Monday gets 4 more. How many now?"
    answer = json.loads(
        run([dianoia, "ask", "runs/miniature-zero", question, "--json"], tmp_path).stdout
    )
    assert answer["responses"][0]["text"]
    chat = [dianoia, "chat", "runs/miniature-zero"]
    assert run(chat, tmp_path, words=f"{question}\n").stdout.strip()
    _serve_it(dianoia, tmp_path, question)
    # A reward function by its path in the repository.
    run([dianoia, "run", "own-reward", "--dry-run"], tmp_path)
    assert "miniature/math" in run([dianoia, "tasks"], tmp_path).stdout
    table = json.loads(run([dianoia, "doctor", "miniature-r1", "--json"], tmp_path).stdout)
    assert not table["broken"]
    assert "claims.md" in run([dianoia, "help", "docs"], tmp_path).stdout
    command = [dianoia, "new", "zero", "--model", "miniature-base", "--problems", "miniature/math"]
    run([*command, "--name", "mine"], tmp_path)
    run([dianoia, "run", "mine", "--dry-run"], tmp_path)
    assert "_ARGCOMPLETE" in run([dianoia, "completion", "bash"], tmp_path).stdout
    miss = run([dianoia, "run", "miniature-r"], tmp_path, status=2)
    assert "(did you mean 'miniature-r1'?)" in miss.stderr


def _serve_it(dianoia: Path, folder: Path, question: str) -> None:
    """The page, the checkpoints by name, and to the OpenAI client the answer that `ask` gives under the same seed."""
    openai = pytest.importorskip("openai")
    ask = [dianoia, "ask", "runs/miniature-zero:zero", question, "--seed", "7", "--json"]
    (asked,) = json.loads(run(ask, folder).stdout)["responses"]
    command = [str(dianoia), "serve", "runs/miniature-zero", "--port"]
    log = folder / "serve.log"
    with serving(lambda port: [*command, str(port)], folder, log, 300, PYTHONPATH="") as address:
        with urllib.request.urlopen(address, timeout=30) as page:
            assert b"<title>Dianoia" in page.read()
        client = openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0)
        assert {"base", "zero"} <= {model.id for model in client.models.list()}
        messages = [{"role": "user", "content": question}]
        answer = client.chat.completions.create(model="zero", messages=messages, seed=7)
        message = answer.choices[0].message
        assert (message.content, message.reasoning_content) == (asked["content"], asked["thought"])
        stream = client.chat.completions.create(
            model="zero", messages=messages, seed=7, stream=True
        )
        deltas = [chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices]
        assert "".join(deltas) == asked["content"]
