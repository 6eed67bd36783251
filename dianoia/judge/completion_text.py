"""The text of a completion as TRL's GRPOTrainer hands it to a reward function.

In: a rollout, the template of its prompt, and the tokenizer. Out: the text. Not here: prompts, columns and the call
(`judge.functions`).

TRL decodes the sampled ids with `skip_special_tokens=True`. So does this, with these exceptions, without which a
well-formed response has another text than the functions of TRL and open-r1 are written for:
1. A tag of the template that the tokenizer declares special stays in the text.
2. White space before the first tag is left out where the template is a text, which puts a blank between prompt and response.
   Responses to a chat template's generation prompt are left as they are.
3. The part of the prompt that opens the thought, `<think>` with the white space after it, comes first, unless the response
   has the tag itself. TRL leaves it out, so that its own `think_format_reward` pays 0 to every sample of a model whose chat
   template opens the thought.
"""

from collections.abc import Sequence
from typing import Any

from dianoia.base.records import Rollout
from dianoia.text.template import Template

_OPENING_IDS = 32
"""Ids at the end of a prompt among which the opened tag is looked for; a tag of plain text has a few."""


class CompletionText:
    """Texts of completions under one template."""

    def __init__(self, template: Template | None = None, tokenizer: Any = None) -> None:
        """Prepare for responses to a template's prompts.

        `tokenizer` is a `PreTrainedTokenizerBase`: a plan, which checks functions, starts without transformers. Without
        one, a response has the text of its rollout.
        """
        self.template, self.tokenizer = template, tokenizer
        tags = None if template is None else template.tags
        self.tags = () if tags is None else tuple(tags.listed("answer"))
        self.special_ids: frozenset[int] = frozenset()
        if tokenizer is not None:
            # `all_special_ids` has the tokens with a name, such as eos; a chat model has more that are special.
            added = (i for i, token in tokenizer.added_tokens_decoder.items() if token.special)
            self.special_ids = frozenset([*tokenizer.all_special_ids, *added])

    def __call__(self, rollout: Rollout) -> str:
        """Return the text of a completion, from its first tag on, with the tag that its prompt has opened."""
        text = self.decoded(rollout)
        if self.template is None or self.template.tags is None:
            return text
        opened = self.template.tags.open_thought
        if not self.template.opens_thought or opened in text:
            return text if self.template.chat else text.lstrip()
        # With what follows the tag: after a prompt that ends in "<think>\n" no line break is left to the model.
        prompt = self._end_of_prompt(rollout.prompt_ids)
        start = prompt.rfind(opened)
        return (opened if start < 0 else prompt[start:]) + text

    def decoded(self, rollout: Rollout) -> str:
        """Return the decoded response without special tokens, and without the id that ended it."""
        if self.tokenizer is None:
            return rollout.text
        ids = rollout.completion.ids
        ids = ids[:-1] if rollout.completion.stopped else ids
        special = self.special_ids.intersection(ids)
        cleans = getattr(self.tokenizer, "clean_up_tokenization_spaces", False)
        # Nearly always: then the text of the rollout is what TRL would decode, too.
        if not special and not cleans:
            return rollout.text
        tags = {i for i in special if self.tokenizer.convert_ids_to_tokens(i) in self.tags}
        shown = [token for token in ids if token not in special or token in tags]
        return str(self.tokenizer.decode(shown, skip_special_tokens=not tags))

    def _end_of_prompt(self, prompt_ids: Sequence[int]) -> str:
        if self.tokenizer is None:
            return self.template.prompt if self.template is not None else ""
        return str(self.tokenizer.decode(list(prompt_ids[-_OPENING_IDS:])))
