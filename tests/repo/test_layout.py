"""The test of `dianoia/a/b.py` is `tests/unit/a/test_b.py`, or `test_b_topic.py` beside it."""

from pathlib import Path

OTHERS = {"benchmarks", "graders"}
"""Folders whose tests are of `benchmarks/` and of laws that hold for all graders."""


def _tested(test: Path, root: Path) -> bool:
    """Tell whether a module, or a room with that name, exists for a unit test's file."""
    room = root / "dianoia" / test.relative_to(root / "tests/unit").parent
    stem = test.stem.removeprefix("test_")
    modules = [path.stem for path in room.glob("*.py")] + [
        path.name for path in room.iterdir() if path.is_dir()
    ]
    if room.name == stem.split("_")[0] or stem.startswith(room.name):
        modules.append(room.name)
    return any(stem == module or stem.startswith(f"{module}_") for module in modules)


def test_every_unit_test_lies_where_its_module_lies(root: Path) -> None:
    unit = root / "tests/unit"
    tests = [
        path
        for path in sorted(unit.rglob("test_*.py"))
        if path.relative_to(unit).parts[0] not in OTHERS
    ]
    assert len(tests) > 100
    astray = [
        path.relative_to(root).as_posix()
        for path in tests
        if not (root / "dianoia" / path.relative_to(unit).parent).is_dir()
        or not _tested(path, root)
    ]
    assert not astray, "move these to the room of the module that they test"


def test_every_room_says_what_is_in_it(root: Path) -> None:
    rooms = list((root / "dianoia").rglob("__init__.py"))
    silent = [
        path.relative_to(root).as_posix()
        for path in rooms
        if not path.read_text(encoding="utf-8").lstrip().startswith(('"""', 'r"""'))
    ]
    assert len(rooms) > 20
    assert not silent
