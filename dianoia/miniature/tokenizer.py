"""The miniature's tokenizer: byte-level BPE, trained on its corpus with `tokenizers`.

Numbers and operations of the miniature's chains are one token each, and so are the template's four tags. The tags are plain added tokens, not special
ones: decoding that skips special tokens, as TRL's does, must not drop them. The end-of-sequence token is special and
has id 0.
"""

import re
from collections.abc import Iterable
from itertools import chain

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from dianoia.miniature.chains import LARGEST, LARGEST_OPERAND, SMALLEST_OPERAND
from dianoia.text.template import Tags

END = "<|endoftext|>"
# Example: `Tom gets 12 more` -> `Tom `, `gets `, `12`, ` more`; `Monday +7=19` -> `Monday `, `+7`, `=`, `19`.
_PIECES = r"[-+*/]?\d{1,3}|[\n:]|\p{Han}{1,2}|(?<=\d) [A-Za-z]+ ?|[A-Za-z]+ ?"
"""Pieces that no token crosses: operations (`+7`) and numbers, lines, Chinese words, English words.

The space before a number belongs to the word before it, so that a number has the same token everywhere: a small model has
to learn its sums only once. An operation is one token, since looking up one thing in the question at a time is all that
four layers learn in minutes. The colon that ends a prompt is a piece of its own, so that a prompt has the same tokens
whether or not a response follows.
"""
_TAGS = Tags()
TAG_TOKENS = (_TAGS.open_thought, _TAGS.close_thought, _TAGS.open_answer, _TAGS.close_answer)
_NUMBER_WEIGHT = 200
"""Copies of the numbers and operations in the training texts, so that those that few documents hold become tokens too."""


def train_tokenizer(documents: Iterable[str], vocabulary: int) -> Tokenizer:
    """Train a tokenizer of at most `vocabulary` tokens that reads any text and decodes it byte for byte."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), "isolated"),
            # use_regex=False: GPT-2's own pattern would cut the pieces once more, and differently.
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        # The tags come on top, so that `vocabulary` is the size of all together.
        vocab_size=vocabulary - len(TAG_TOKENS),
        special_tokens=[END],
        # All 256 bytes, also those that no document has: any text can be encoded.
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    # Tags are added after training: cut out of the documents, they take no merges from the vocabulary.
    tags = re.compile("|".join(map(re.escape, TAG_TOKENS)))
    sums = (f"{sign}{n}" for sign in "+-" for n in range(SMALLEST_OPERAND, LARGEST_OPERAND + 1))
    numbers = " ".join([*map(str, range(LARGEST + 1)), *sums])
    texts = chain([numbers] * _NUMBER_WEIGHT, (tags.sub("", text) for text in documents))
    tokenizer.train_from_iterator(texts, trainer)
    # Not special: `skip_special_tokens` must keep them.
    tokenizer.add_tokens([AddedToken(tag, special=False, normalized=False) for tag in TAG_TOKENS])
    return tokenizer
