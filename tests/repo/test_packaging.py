"""What is published: one name, extras that exist, a page without dead links."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from dianoia.base.extras import DISTRIBUTION, pip_install
from dianoia.base.shipped_files import FOLDERS

SOURCES = ("dianoia", "docs", "examples", "recipes", "scripts", "tests", "benchmarks")


@pytest.fixture(scope="module")
def pyproject(root: Path) -> dict[str, Any]:
    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def texts(root: Path) -> dict[str, str]:
    """The files that name the distribution or its extras, by path."""
    files = [*root.glob("*.md"), *(root.glob("*.toml"))]
    for folder in SOURCES:
        for suffix in ("py", "md", "toml", "html", "js"):
            files += (root / folder).rglob(f"*.{suffix}")
    return {str(path.relative_to(root)): path.read_text(encoding="utf-8") for path in files}


def test_messages_name_the_distribution(pyproject: dict[str, Any]) -> None:
    assert pyproject["project"]["name"] == DISTRIBUTION
    assert pip_install("data") == f"pip install '{DISTRIBUTION}[data]'"


def test_every_extra_that_is_named_exists(pyproject: dict[str, Any], texts: dict[str, str]) -> None:
    extras = set(pyproject["project"]["optional-dependencies"])
    named = {}
    for path, text in texts.items():
        by_call = re.findall(r"""\bpip_install\(["']([\w-]+)["']\)""", text)
        by_name = re.findall(rf"{DISTRIBUTION}\\?\[([\w,-]+)\\?\]", text)
        for extra in [*by_call, *",".join(by_name).split(",")]:
            named[extra] = path
    named.pop("", None)
    assert {"data", "gym", "languages"} <= set(named)
    unknown = {extra: path for extra, path in named.items() if extra not in extras}
    assert not unknown, f"pyproject.toml has no such extras: {unknown}"


def test_nobody_is_told_to_install_a_package_of_others(texts: dict[str, str]) -> None:
    # `dianoia` alone, or with an extra, is another project's name on the package index.
    wrong = re.compile(r"dianoia\\?\[(?!-)[a-z]|pip install (?:-U )?['\"]?dianoia(?![\w-])")
    here = str(Path(__file__).relative_to(Path(__file__).parents[2]))
    assert not [path for path, text in texts.items() if path != here and wrong.search(text)]


def test_the_page_on_the_index_has_no_dead_links(root: Path, pyproject: dict[str, Any]) -> None:
    hook = pyproject["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]
    assert hook["fragments"] == [{"path": "README.md"}]
    page = readme = (root / "README.md").read_text(encoding="utf-8")
    for rule in hook["substitutions"]:
        page = re.sub(rule["pattern"], rule["replacement"], page)
    links = re.findall(r"\]\(([^)]*)\)", page)
    assert links and all(link.startswith("https://") for link in links)
    assert len(re.findall(r"\]\(([^)]*)\)", readme)) > len(links), "links to files became text"
    assert "![" not in page and "The documentation starts from" in page


def test_every_extra_is_on_the_page_about_installing(
    pyproject: dict[str, Any], texts: dict[str, str]
) -> None:
    rows = re.findall(r"^\| `([\w-]+)` \|", texts["docs/install.md"], re.MULTILINE)
    assert sorted(rows) == sorted(pyproject["project"]["optional-dependencies"])


def test_recipes_and_examples_are_in_wheel_and_source(pyproject: dict[str, Any]) -> None:
    targets = pyproject["tool"]["hatch"]["build"]["targets"]
    folders = (*FOLDERS, "docs")
    assert targets["wheel"]["sources"] == {name: f"dianoia/{name}" for name in folders}
    assert set(folders) < set(targets["wheel"]["only-include"])
    assert set(folders) < set(targets["sdist"]["only-include"])
