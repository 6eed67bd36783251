"""The text of a completion as TRL's GRPOTrainer hands it to a reward function.

In: a rollout, the template of its prompt, and the tokenizer. Out: the text. Not here: prompts, columns and the call
(`judge.functions`).

TRL decodes the sampled ids with `skip_special_tokens=True`. So does this, with these exceptions, without which a
well-formed response has another text than the functions of TRL and open-r1 are written for:
1. A tag of the template that the tokenizer declares special stays in the text.
2. White space before the first tag is left out, since the fixed templates put a blank between prompt and response. After a
   chat template's generation prompt a response begins with its tag.
3. The part of the prompt that opens the thought, `<think>` with the white space after it, comes first, unless the response
   has the tag itself. TRL leaves it out, so that its own `think_format_reward` pays 0 to every sample of a model whose chat
   template opens the thought.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dianoia.base.records import Rollout
from dianoia.text.template import Template

CompletionText = Callable[[Rollout], str]


def with_opening(text: str, template: Template | None) -> str:
    """Return a decoded response from its first tag on, with the tag that its prompt has opened (exceptions 2 and 3)."""
    if template is None or template.tags is None:
        return text
    opened = template.tags.open_thought
    if not template.opens_thought or opened in text:
        return text.lstrip()
    # With what follows the tag: a chat template that ends in "<think>\n" leaves no line break to the model.
    start = template.prompt.rfind(opened)
    return (opened if start < 0 else template.prompt[start:]) + text


@dataclass(frozen=True, slots=True)
class SpecialTokens:
    """Leaves the special tokens of a tokenizer out of responses, but not the tags of a template."""

    tokenizer: Any
    """A `PreTrainedTokenizerBase`; this room must start without transformers."""
    tags: frozenset[str]
    special_ids: frozenset[int]
    """Ids that TRL does not decode, the tags' among them."""

    @classmethod
    def of(cls, tokenizer: Any, template: Template | None) -> "SpecialTokens":
        """Read which tokens are special."""
        tags = None if template is None else template.tags
        texts = () if tags is None else (tags.open_thought, tags.close_thought, tags.open_answer, tags.close_answer)  # fmt: skip
        # `all_special_ids` has the tokens with a name, such as eos; a chat model has more that are special.
        added = (i for i, token in tokenizer.added_tokens_decoder.items() if token.special)
        return cls(tokenizer, frozenset(texts), frozenset([*tokenizer.all_special_ids, *added]))

    def text(self, rollout: Rollout) -> str:
        """Return the decoded response without special tokens, and without the id that ended it."""
        ids = rollout.completion.ids
        ids = ids[:-1] if rollout.completion.stopped else ids
        present = self.special_ids.intersection(ids)
        cleans = getattr(self.tokenizer, "clean_up_tokenization_spaces", False)
        # Nearly always: then the text of the rollout is what TRL would decode, too.
        if not present and not cleans:
            return rollout.text
        tags = {i for i in present if self.tokenizer.convert_ids_to_tokens(i) in self.tags}
        shown = [token for token in ids if token not in present or token in tags]
        text = self.tokenizer.decode(shown, skip_special_tokens=not tags)
        assert isinstance(text, str)
        return text
