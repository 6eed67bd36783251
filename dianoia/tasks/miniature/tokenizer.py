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
_TAGS = Tags()
TAG_TOKENS = (_TAGS.open_thought, _TAGS.close_thought, _TAGS.open_answer, _TAGS.close_answer)


def train_tokenizer(documents: Iterable[str], vocabulary: int) -> Tokenizer:
    """A tokenizer of at most `vocabulary` tokens that reads any text and returns it byte for byte."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\d{1,2}"), "isolated"),
            pre_tokenizers.Split(Regex(r"\n"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
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
    texts = chain([numbers], (tags.sub("", text) for text in documents))
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_tokens([AddedToken(tag, special=False, normalized=False) for tag in TAG_TOKENS])
    return tokenizer
