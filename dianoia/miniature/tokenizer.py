"""The miniature's tokenizer: byte-level BPE, trained on its corpus with `tokenizers`.

Numbers below 100 are one token each, and so are the template's four tags. The tags are plain added tokens,
not special ones: decoding that skips special tokens must not swallow them (TRL's does). The
end-of-sequence token is special and has id 0.
"""

import re
from collections.abc import Iterable
from itertools import chain

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from dianoia.text.template import Tags

END = "<|endoftext|>"
_PIECES = r"[-+*/]?\d{1,2}|[\n:]|\p{Han}{1,2}|(?<=\d) [A-Za-z]+ ?|[A-Za-z]+ ?"
"""What a token never reaches across: operations (`+7`) and numbers, lines, Chinese words, English words.

The space before a number belongs to the word before it, so that a number looks the same wherever it
stands: a small model has to learn its sums but once. An operation is one token, since finding one thing
in the question at a time is all that four layers learn in minutes. The colon that ends a prompt stands
alone, so that a prompt has the same tokens whether or not a response follows.
"""
_TAGS = Tags()
TAG_TOKENS = (_TAGS.open_thought, _TAGS.close_thought, _TAGS.open_answer, _TAGS.close_answer)


_WEIGHT = 200
"""How often the numbers are read, so that those above 60, which few documents hold, are tokens too."""


def train_tokenizer(documents: Iterable[str], vocabulary: int) -> Tokenizer:
    """A tokenizer of at most `vocabulary` tokens that reads any text and returns it byte for byte."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary - len(TAG_TOKENS),
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tags = re.compile("|".join(map(re.escape, TAG_TOKENS)))
    numbers = " ".join(map(str, range(100)))
    texts = chain([numbers] * _WEIGHT, (tags.sub("", text) for text in documents))
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_tokens([AddedToken(tag, special=False, normalized=False) for tag in TAG_TOKENS])
    return tokenizer
