"""Text that arrives token by token: whole characters only, stop strings over the borders of tokens, exact counts."""

import random
from itertools import pairwise

import pytest
from tokenizers import Tokenizer

from dianoia.bases import shipped_model
from dianoia.inference.incremental_text import IncrementalText, StopStrings

TEXTS = [
    "plain words, then 12 + 30 = 42.",
    "naïve café, 你好 世界, 🙂🙃 and Ω",
    " leading blank\n\n\tand a tab ",
    "\ufffd a real replacement character \ufffd\ufffd\ufffd\ufffd!",
]


def byte_level() -> Tokenizer:
    folder = shipped_model("miniature-base-small")
    assert folder is not None
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


TOKENIZER = byte_level()


def decode(ids: list[int]) -> str:
    return TOKENIZER.decode(ids, skip_special_tokens=False)


def byte_fallback(ids: list[int]) -> str:
    """As SentencePiece models decode bytes: a group that is no UTF-8 becomes one replacement character per byte."""
    data = bytes(ids)
    try:
        return data.decode()
    except UnicodeDecodeError:
        return "\ufffd" * len(data) if not data.isascii() else data.decode()


def parts(items: list[int], randomness: random.Random) -> list[list[int]]:
    cuts = sorted({0, len(items), *randomness.choices(range(len(items) + 1), k=len(items) // 2)})
    return [items[a:b] for a, b in pairwise(cuts)]


@pytest.mark.parametrize("text", TEXTS)
def test_the_parts_are_the_whole(text: str) -> None:
    ids = TOKENIZER.encode(text).ids
    for seed in range(20):
        incremental = IncrementalText(decode)
        pieces = [incremental.push(part) for part in parts(ids, random.Random(seed))]
        assert "".join(pieces) + incremental.finish() == decode(ids) == text


def test_a_character_comes_whole() -> None:
    ids = TOKENIZER.encode("🙂").ids
    assert len(ids) > 1, "the test needs a character of several tokens"
    incremental = IncrementalText(decode)
    assert [incremental.push([token]) for token in ids] == [""] * (len(ids) - 1) + ["🙂"]


def test_an_unfinished_character_at_the_end() -> None:
    ids = TOKENIZER.encode("a🙂").ids[:-1]
    incremental = IncrementalText(decode)
    assert incremental.push(ids) == "a"
    assert incremental.finish() == decode(ids)[1:] != ""


def test_random_tokens_give_the_text_of_the_whole() -> None:
    """Bytes that are no UTF-8 in the middle, too."""
    for seed in range(40):
        randomness = random.Random(seed)
        ids = randomness.choices(range(1, TOKENIZER.get_vocab_size()), k=40)
        ids = [token % 250 + 1 if randomness.random() < 0.5 else token for token in ids]
        incremental = IncrementalText(decode)
        pieces = [incremental.push(part) for part in parts(ids, randomness)]
        assert "".join(pieces) + incremental.finish() == decode(ids)


def test_bytes_that_show_as_one_mark_each() -> None:
    data = list("né好🙂z".encode())
    incremental = IncrementalText(byte_fallback)
    assert "".join(incremental.push([byte]) for byte in data) + incremental.finish() == "né好🙂z"


def test_tokens_within() -> None:
    ids = TOKENIZER.encode("one 🙂 two").ids
    incremental = IncrementalText(decode)
    incremental.push(ids)
    for characters in range(len("one 🙂 two") + 1):
        count = incremental.tokens_within(characters)
        text = decode(ids[:count]).rstrip("\ufffd")
        assert len(text) >= characters
        assert count == 0 or len(decode(ids[: count - 1]).rstrip("\ufffd")) < characters


@pytest.mark.parametrize(
    ("stops", "text", "expected", "end"),
    [
        (["stop"], "now stop here", "now ", 8),
        (["stop"], "now sto", "now sto", None),
        (["stop"], "stostop", "sto", 7),
        (["abcd", "bc"], "xabcd", "xa", 4),  # the one that ends first
        (["aab"], "aaab", "a", 4),
        (["\n\n"], "a\nb\n\nc", "a\nb", 5),
        ([], "anything", "anything", None),
    ],
)
def test_stop_strings(stops: list[str], text: str, expected: str, end: int | None) -> None:
    """However the text is divided."""
    for width in range(1, len(text) + 1):
        finder = StopStrings(stops)
        pieces = [finder.push(text[i : i + width]) for i in range(0, len(text), width)]
        assert "".join(pieces) + finder.finish() == expected
        assert finder.end == end
