"""Reward functions of TRL 1.16 and open-r1, as they are, in a recipe: their own values, end to end from files.

TRL and math-verify are installed from the registry for this test alone, into an environment that has everything else of
the one that runs the tests. open-r1 is read from the folder that the variable OPEN_R1 names (a clone, or its git
directory), or cloned. `rewards.py` is untouched. Replaced are two files of its package, `utils/__init__.py`, which imports
what TRL no longer has, and `utils/import_utils.py`, which takes transformers 5 to have every optional package.

A model is fine-tuned on each template to write the form that open-r1's functions pay for, with its answer in a box. Then
problems are read from files of messages and of texts. The script `trl_rewards.py` makes TRL's inputs on its own, from the
files and the sampled ids, and has TRL's own trainer call the functions.
"""

import json
import os
import shutil
import subprocess
import sysconfig
import tarfile
import venv
from pathlib import Path
from typing import Any

import pytest

from tests.slow.trl_functions import (
    CHAT_TEMPLATE,
    FORMS,
    FUNCTIONS,
    TEXT_FUNCTIONS,
    THINKING,
    WEIGHT,
)

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PACKAGES = (
    "trl==1.16.0", "math-verify==0.9.0", "accelerate", "datasets",
    "aiohttp", "async_lru", "python-dotenv", "requests", "pandas",
)  # fmt: skip
OPEN_R1 = "https://github.com/huggingface/open-r1"
UTILS = "def is_e2b_available(): return False\nis_morph_available = is_e2b_available\n"
KEEP = '''
import json
from pathlib import Path

def keeper(file):
    def keep(trainer_state, log_extra, log_metric, **lists):
        """Writes down what it is given, and applies to nothing."""
        with Path(file).open("a", encoding="utf-8") as opened:
            opened.write(json.dumps(lists) + "\\n")
        return [None] * len(lists["prompts"])
    return keep
'''
SFT = """
[stages.sft-{template}]
kind = "sft"
start = "{start}"
datasets = [{{ path = "{template}.jsonl" }}]
template = "{template}"
epochs = 30
evaluation_share = 0
max_length = 256
tokens_per_step = 2048
[stages.sft-{template}.optimizer]
learning_rate = 2e-3
"""
RL = """
[stages.{name}]
kind = "rl"
start = "sft-{template}"
problems = "{file}.jsonl"
template = "{template}"
steps = 1
group_size = 4
problems_per_rollout = 8
[stages.{name}.sampling]
max_tokens = 64
[stages.{name}.optimizer]
learning_rate = 1e-5
[stages.{name}.progress]
problems = 0
rollouts_every = 1
[stages.{name}.rewards]
accuracy = 0.0
format = 0.0
[[stages.{name}.rewards.functions]]
path = "keep.py:keeper"
arguments = {{ file = "{name}.jsonl" }}
form = "{form}"
"""
SYSTEM = {"role": "system", "content": "Think before you answer."}
EARLIER = [{"role": "user", "content": "Say 1."}, {"role": "assistant", "content": "1"}]


def function_table(stage: str, name: str, path: str, arguments: str, form: str) -> str:
    lines = [f"[[stages.{stage}.rewards.functions]]", f'path = "{path}"', f'name = "{name}"']
    lines += [f'form = "{form}"', f"weight = {WEIGHT}"]
    return "\n".join([*lines, *([f"arguments = {arguments}"] if arguments else []), ""])


def write_inputs(folder: Path) -> None:
    """Write the data, the recipe, and the function that keeps what functions are given."""
    recipe = 'name = "trl"\nthreads = 1\n' + THINKING
    chat_base = shutil.copytree(ROOT / "dianoia/bases/miniature-base", folder / "chat-base")
    (chat_base / "chat_template.jinja").write_text(CHAT_TEMPLATE, encoding="utf-8")
    numbers = [str(number) for number in range(20)]
    for template, form in FORMS.items():
        rows = [
            {"messages": [
                *before,
                {"role": "user", "content": f"Say {number}."},
                {"role": "assistant", "content": form.format(number)},
            ]}
            for before in ([], [SYSTEM, *EARLIER])
            for number in numbers
        ]  # fmt: skip
        _write(folder / f"{template}.jsonl", rows)
        start = "./chat-base" if template in ("chat", "thinking") else "miniature-base"
        recipe += SFT.format(template=template, start=start)
    # Messages as TRL's data sets have them, texts, and columns that functions read by their own names.
    about = [{"solution": f"${number}$", "level": f"level {number}"} for number in numbers]
    prompts = [{"role": "user", "content": f"Say {number}."} for number in numbers]
    _write(
        folder / "messages.jsonl",
        [
            {"prompt": [SYSTEM, *EARLIER, prompt], **row}
            for prompt, row in zip(prompts, about, strict=True)
        ],
    )
    _write(
        folder / "texts.jsonl",
        [{"prompt": p["content"], **row} for p, row in zip(prompts, about, strict=True)],
    )
    for template in FORMS:
        for file, form in (("messages", "auto"), ("texts", "messages")):
            name = f"{file}-{template}"
            recipe += RL.format(name=name, template=template, file=file, form=form)
            for function, (path, arguments) in FUNCTIONS.items():
                recipe += function_table(name, function, path, arguments, form)
            for function, (path, arguments) in TEXT_FUNCTIONS.items() if file == "texts" else ():
                recipe += function_table(name, function, path, arguments, "text")
    (folder / "trl.toml").write_text(recipe, encoding="utf-8")
    (folder / "keep.py").write_text(KEEP, encoding="utf-8")


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def place_open_r1(folder: Path) -> None:
    """Put open-r1's package into a folder; skips where there is no way to it."""
    source = Path(os.environ.get("OPEN_R1") or folder / "clone")
    if not source.exists():
        clone = ["git", "clone", "--quiet", "--depth", "1", OPEN_R1, str(source)]
        done = subprocess.run(clone, capture_output=True, text=True, timeout=120, check=False)
        if done.returncode:
            pytest.skip(f"open-r1 cannot be cloned; name a clone in OPEN_R1: {done.stderr[-200:]}")
    archive = folder / "open-r1.tar"
    subprocess.run(
        ["git", "-C", source, "archive", "-o", archive, "HEAD", "src/open_r1"], check=True
    )
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    shutil.move(folder / "src/open_r1", folder / "open_r1")
    for name in ("__init__", "import_utils"):
        (folder / f"open_r1/utils/{name}.py").write_text(UTILS, encoding="utf-8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the run works, with open-r1 in it."""
    folder = tmp_path_factory.mktemp("run")
    place_open_r1(folder)
    return folder


# After `folder`, which skips at once: the installation takes minutes.
@pytest.fixture(scope="module")
def python(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with TRL; skips where the registry cannot be reached."""
    environment = tmp_path_factory.mktemp("trl") / "venv"
    venv.create(environment, with_pip=True)
    interpreter = environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    site = subprocess.run(
        [interpreter, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        check=True, capture_output=True, text=True,
    ).stdout.strip()  # fmt: skip
    # Torch and the rest are there already, and the versions stay those that are tested together.
    (Path(site) / "tests.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    pip = [interpreter, "-m", "pip", "install", "--quiet"]
    pip += ["-c", ROOT / "constraints.txt", *PACKAGES]
    done = subprocess.run(pip, capture_output=True, text=True, timeout=900, check=False)
    if done.returncode:
        pytest.skip(f"pip could not install {', '.join(PACKAGES)}: {done.stderr.strip()[-300:]}")
    return interpreter


@pytest.fixture(scope="module")
def results(python: Path, folder: Path) -> dict[str, Any]:
    """Values of the recipe and of TRL, by stage, and for completions made by hand."""
    write_inputs(folder)
    paths = os.pathsep.join([str(ROOT), str(folder)])
    environment = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    command = [python, "-m", "dianoia", "run", "trl.toml", "--out", "run"]
    script = [python, "-m", "tests.slow.trl_rewards", folder]
    outputs = []
    for words in (command, script):
        done = subprocess.run(
            words, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        outputs.append(done.stdout)
    values: dict[str, Any] = json.loads(outputs[1].splitlines()[-1])
    assert values["trl"] == "1.16.0"
    return values


def _equal(ours: list[list[float | None]], theirs: list[list[float | None]]) -> bool:
    """Compare values; TRL keeps rewards in float32."""
    return len(ours) == len(theirs) and all(
        (a is None) == (b is None) and (a is None or a == pytest.approx(b, abs=1e-6))
        for row, others in zip(ours, theirs, strict=True)
        for a, b in zip(row, others, strict=True)
    )


@pytest.mark.parametrize("template", FORMS)
@pytest.mark.parametrize("file", ["messages", "texts"])
def test_a_run_has_their_values(results: dict[str, Any], file: str, template: str) -> None:
    stage = results["stages"][f"{file}-{template}"]
    assert len(stage["ours"]) == 32
    assert stage["given"] == stage["expected"], "prompts, completions, ids and columns are TRL's"
    assert _equal(stage["ours"], stage["theirs"])
    assert {"gold_parsed", "answer_parsed"} <= set(stage["notes"]), "what they log is kept"
    for row, reward in zip(stage["ours"], stage["rewards"], strict=True):
        assert reward == pytest.approx(sum(WEIGHT * (value or 0.0) for value in row), abs=1e-6)


@pytest.mark.parametrize("template", FORMS)
@pytest.mark.parametrize("file", ["messages", "texts"])
def test_well_formed_and_right_samples_are_paid(
    results: dict[str, Any], file: str, template: str
) -> None:
    stage = results["stages"][f"{file}-{template}"]
    names = [*FUNCTIONS]
    formed = [
        dict(zip(names, row, strict=False)) | {"right": right}
        for row, status, right in zip(stage["ours"], stage["status"], stage["right"], strict=True)
        if status == "finished"
    ]
    assert len(formed) >= 16, "the model has learnt the form"
    # Without tags any response is well-formed; this one is so nearly always.
    least = 1.0 if template not in ("plain", "chat") else 0.75
    in_lines = ("r1_format", "r1_tags") if template != "r1" else ()
    for name in ("trl_think_format", *in_lines):
        assert sum(row[name] == 1.0 for row in formed) >= least * len(formed), name
    assert sum(row["r1_steps"] > 0 for row in formed) >= 0.75 * len(formed)
    right = [row for row in formed if row["right"]]
    assert right or template == "plain", "its answer is the last line, which is a tag"
    for name in (
        "trl_accuracy",
        "trl_reasoning_accuracy",
        "r1_accuracy",
        "trl_cosine",
        "r1_cosine",
    ):
        assert all(row[name] > 0 for row in right), name
        assert any(row[name] > 0 for row in formed), name


def test_completions_made_by_hand_have_their_values(results: dict[str, Any]) -> None:
    """Right, wrong and unreadable ones, loops, code, and an async function that does not always apply."""
    hand = results["hand"]
    assert _equal(hand["ours"], hand["theirs"]) and len(hand["ours"]) == 44
    columns = dict(zip([*FUNCTIONS, "waited"], zip(*hand["ours"], strict=True), strict=True))
    assert set(columns["trl_accuracy"]) == {None, 0.0, 1.0}, (
        "right, wrong, and a gold nobody can read"
    )
    for name in ("trl_think_format", "r1_format", "r1_code_format"):
        assert set(columns[name]) == {0.0, 1.0}, name
    for name in (
        "trl_cosine",
        "trl_loops",
        "trl_overlong",
        "r1_cosine",
        "r1_loops",
        "r1_len",
        "r1_overlong",
    ):
        assert len(set(columns[name])) > 2, f"{name}: length and loops are graded"
    assert set(columns["waited"]) == {None, 1.0}, "one message each, where the function applies"
