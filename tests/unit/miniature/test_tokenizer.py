"""The miniature's tokenizer: any text and back, numbers and tags whole, one tokenizer a corpus."""

from functools import cache
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from dianoia.bases import SHIPPED, shipped_model
from dianoia.config import Habits
from dianoia.miniature.corpus import documents
from dianoia.miniature.problems import MiniatureProblems
from dianoia.miniature.tokenizer import END, TAG_TOKENS, train_tokenizer
from dianoia.text.template import TEMPLATES


@cache
def texts() -> list[str]:
    return list(islice(documents(Habits(), seed=1), 2000))


@cache
def trained() -> Tokenizer:
    return train_tokenizer(texts(), 1792)


ANY_TEXT = st.text() | st.lists(
    st.sampled_from(
        [*TAG_TOKENS, "12", "7", "100", " ", "\n", "\r\n", "\t", "苹果", "🤔", "é", "\0"]
    )
).map("".join)
ANY_TEXT = ANY_TEXT.filter(lambda text: END not in text)  # typed, it is the end token all the same


@settings(max_examples=300, deadline=None)
@given(ANY_TEXT)
def test_any_text_comes_back(text: str) -> None:
    ids = trained().encode(text).ids
    assert trained().decode(ids, skip_special_tokens=False) == text
    assert trained().decode(ids, skip_special_tokens=True) == text
    assert 0 not in ids, "only the end token ends"


@pytest.mark.parametrize(
    "text", ["🤔👩‍👩‍👧", "小明有12个苹果。现在有几个？", "naïve ﬁ ½", "  a  \n\n b "]
)
def test_texts_that_tokenizers_get_wrong(text: str) -> None:
    assert trained().decode(trained().encode(text).ids) == text


def test_the_end_is_special_and_number_zero() -> None:
    assert trained().token_to_id(END) == 0
    assert trained().encode(f"7{END}").ids == [trained().encode("7").ids[0], 0]
    assert trained().decode([0], skip_special_tokens=True) == ""
    assert trained().decode([0], skip_special_tokens=False) == END


def test_tags_are_one_plain_token_each() -> None:
    ids = [trained().encode(tag).ids for tag in TAG_TOKENS]
    assert [len(token_ids) for token_ids in ids] == [1, 1, 1, 1] and len(
        {token_ids[0] for token_ids in ids}
    ) == 4
    for tag, (token,) in zip(TAG_TOKENS, ids, strict=True):
        assert trained().decode([token], skip_special_tokens=True) == tag
        for around in (f"a{tag}b", f" {tag}\n", f"12{tag}12", f"：{tag}。"):
            assert trained().encode(around).ids.count(token) == 1
    # the prompt and the response must speak of the tags in the same token
    prompt = trained().encode(TEMPLATES["r1-zero"].render("?")).ids
    assert all(token in prompt for (token,) in ids)


@pytest.mark.parametrize("response", [" <think>\n", " 12", " I know", "\n"])
def test_a_prompt_has_the_same_tokens_with_and_without_a_response(response: str) -> None:
    prompt = TEMPLATES["r1-zero"].render(MiniatureProblems("math").heldout(1)[0].question)
    alone = trained().encode(prompt).ids
    assert trained().encode(prompt + response).ids[: len(alone)] == alone


def test_a_vocabulary_has_room_for_the_tags() -> None:
    for size in (400, 1024):
        tokenizer = train_tokenizer(texts()[:200], size)
        assert tokenizer.get_vocab_size() <= size
        assert all(len(tokenizer.encode(tag).ids) == 1 for tag in TAG_TOKENS)
        top = max(tokenizer.get_vocab().values())
        assert top == tokenizer.get_vocab_size() - 1, "ids have no holes"


def test_the_numbers_of_problems_are_one_token_each() -> None:
    for number in range(401):
        for text in (f"{number}", f"has {number} ", f"有{number}个", f"={number}\n"):
            encoded = trained().encode(text)
            assert str(number) in [trained().decode([i]).strip() for i in encoded.ids], text


def test_a_number_and_a_day_look_the_same_wherever_they_stand() -> None:
    (twelve,), (monday,) = trained().encode("12").ids, trained().encode("Monday ").ids
    text = "Tom has 12 eggs, Monday buys 12 more.\nMonday +7=12\n小明有12个"
    pieces = [trained().decode([i]) for i in trained().encode(text).ids]
    assert trained().encode(text).ids.count(twelve) == 4 and " " not in pieces
    assert trained().encode(text).ids.count(monday) == 2
    assert pieces[:4] == ["Tom ", "has ", "12", " eggs"]


@pytest.mark.parametrize(("count", "vocabulary"), [(300, 1280), (2000, 1280), (2000, 2048)])
def test_numbers_and_sums_are_one_token_each(count: int, vocabulary: int) -> None:
    """Also those that few documents mention."""
    tokenizer = train_tokenizer(texts()[:count], vocabulary)
    sums = (f"{sign}{n}" for sign in "+-" for n in range(2, 100))
    pieces = [*map(str, range(401)), *sums, "*2", "*3", "/2"]
    assert [piece for piece in pieces if len(tokenizer.encode(piece).ids) != 1] == []


def test_longer_numbers_are_cut_in_threes_from_the_left() -> None:
    pieces = [trained().decode([i]) for i in trained().encode("10203").ids]
    assert "".join(pieces) == "10203"
    assert trained().encode("102203").ids == [
        *trained().encode("102").ids,
        *trained().encode("203").ids,
    ]


def test_the_same_documents_give_the_same_tokenizer() -> None:
    again = train_tokenizer(iter(texts()), 1792)
    assert again.to_str() == trained().to_str()
    assert train_tokenizer(texts()[:500], 1024).to_str() != trained().to_str()


def test_a_prompt_is_short() -> None:
    """A small model's positions and seconds are spent on the problem, not on the alphabet."""
    for problem in MiniatureProblems("math").heldout(50):
        assert len(trained().encode(TEMPLATES["r1-zero"].render(problem.question)).ids) < 120


@pytest.mark.parametrize("name", SHIPPED)
def test_the_shipped_tokenizer_keeps_the_same_promises(name: str) -> None:
    folder = shipped_model(name)
    if folder is None:
        pytest.skip(f"{name} is not there yet")
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    assert tokenizer.eos_token_id == 0 and tokenizer.eos_token == END
    for tag in TAG_TOKENS:
        assert len(ids := tokenizer(tag)["input_ids"]) == 1
        assert tokenizer.decode(ids, skip_special_tokens=True) == tag
    backend: Tokenizer = tokenizer.backend_tokenizer
    for text in ("苹果🤔 12+7=19 apples\n", "<think>\n\n</think>"):
        assert backend.decode(backend.encode(text).ids) == text
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    assert all(len(tokenizer(str(n))["input_ids"]) == 1 for n in range(401))
