"""Faults of disk and memory in words: what happened, where, and what to do; errors of ours stay errors of ours."""

import errno
import os
import re
from pathlib import Path

import pytest

from dianoia.base.errors import ConfigError, MachineFault
from dianoia.base.faults import error_path, fault_message


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, ["no space left", "MB free", "same command again"]),
        (errno.EDQUOT, ["quota", "same command again"]),
        (errno.EFBIG, ["larger than a limit", "ulimit -f"]),
        (errno.EROFS, ["can only be read", "--out"]),
        (errno.EACCES, ["permission denied", "chmod"]),
        (errno.EPERM, ["permission denied", "chmod"]),
        (errno.ENAMETOOLONG, ["longer than the file system allows", "shorter --out"]),
        (errno.ENOTDIR, ["a part of this path is a file"]),
        (errno.EISDIR, ["folder where a file is needed"]),
        (errno.EIO, ["input/output error", "dmesg"]),
        (errno.ESTALE, ["network disk", "mounted again"]),
        (errno.EMFILE, ["open files", "ulimit -n"]),
        (errno.ENFILE, ["open files", "--jobs"]),
        (errno.ENOENT, ["it is missing", "deleted"]),
        (errno.ELOOP, ["symbolic link", "remove the link"]),
        (errno.ENOMEM, ["memory has run out", "--dry-run"]),
        (errno.EAGAIN, ["no further process", "ulimit -u"]),
        (errno.EBUSY, ["another program", "same command again"]),
    ],
)
def test_every_error_of_the_system_says_what_and_what_to_do(number: int, words: list[str]) -> None:
    message = fault_message(OSError(number, os.strerror(number), "/disk/run/metrics.jsonl"))
    assert message is not None and "\n" not in message
    for word in [*words, *(["/disk/run/metrics.jsonl"] if number != errno.ENOMEM else [])]:
        assert word in message


def test_an_error_that_nobody_foresaw_keeps_the_systems_words() -> None:
    message = fault_message(OSError(errno.EXDEV, os.strerror(errno.EXDEV), "a", None, "b"))
    assert message is not None and os.strerror(errno.EXDEV) in message and message.startswith("a: ")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError(), "memory has run out"),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: can't allocate memory: you tried to "
                      "allocate 8000000 bytes. Error code 12"), "another 8 MB"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB."), "another 2.00 GiB"),
        (RuntimeError("can't start new thread"), "no further thread"),
        (RuntimeError("std::bad_alloc"), "memory has run out"),
        (ImportError("libtorch_cpu.so: failed to map segment from shared object"), "memory has run out"),
        (RuntimeError("[enforce fail at inline_container.cc:672] . PytorchStreamWriter failed writing file data/4: file "
                      "write failed"), "no space left"),
        (RuntimeError("unable to write: errno 28"), "no space left"),
        (OSError("I/O error: Disk quota exceeded (os error 122)"), "quota"),
    ],
)  # fmt: skip
def test_libraries_say_it_in_their_own_way(error: Exception, words: str) -> None:
    assert words in (fault_message(error) or "")


def test_safetensors_names_the_number_of_the_system() -> None:
    error_class = type("SafetensorError", (Exception,), {})
    error = error_class("Error while serializing: I/O error: File too large (os error 27)")
    assert "ulimit -f" in (fault_message(error) or "")


@pytest.mark.parametrize(
    "error",
    [KeyError("x"), ValueError("a"), RuntimeError("shapes (3,) and (4,)"), AssertionError()],
)
def test_errors_of_ours_are_none_of_them(error: Exception) -> None:
    assert fault_message(error) is None
    try:
        try:
            raise OSError(errno.ENOSPC, "full")
        except OSError:
            raise error  # noqa: B904 - as a bug in a handler would be
    except Exception as raised:  # noqa: BLE001
        local = fault_message(raised)
    assert local is None or type(error) is RuntimeError, "what was being handled is no cause"


def test_the_cause_counts() -> None:
    try:
        raise ValueError("wrapped") from OSError(errno.EROFS, "read only", "/x")
    except ValueError as error:
        assert "can only be read" in (fault_message(error) or "")


def test_a_path_is_given_to_an_error_without_one(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    for names in (None, str(tmp_path / ".metrics.jsonl.part")):
        with pytest.raises(OSError) as caught, error_path(file):
            raise OSError(errno.ENOSPC, "full", names)
        message = fault_message(caught.value)
        assert message is not None and message.startswith(f"{file}: there is no space left")
        assert re.search(r"[\d,.]+ MB free", message)
    with (
        pytest.raises(MachineFault, match="state.pt: there is no space left"),
        error_path(Path("state.pt")),
    ):
        raise RuntimeError("PytorchStreamWriter failed writing file data/4: file write failed")
    with pytest.raises(ConfigError, match="^mine$"), error_path(file):
        raise ConfigError("mine")
    with pytest.raises(KeyError), error_path(file):
        raise KeyError("x")


def test_a_path_of_any_length_leaves_the_message_readable() -> None:
    message = fault_message(OSError(errno.ENAMETOOLONG, "long", "x" * 5000))
    assert message is not None and len(message) < 800
