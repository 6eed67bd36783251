"""How a question becomes a prompt, and which tags the response has to use.

In: the text of a question. Out: the prompt as plain text, and the tags for `dianoia.text.parsing`.
Left out: chat templates and special tokens (R1-Zero has none), and tokenization.

Decisions where DeepSeek-R1 (arXiv 2501.12948v2) is silent or where we depart from it:
1. Table 1 of v1, the R1-Zero template, is told in our own words and is shorter: every word of it
   costs a small model a token. What it asks for is the same, structure only: first the thought,
   then the bare answer. Nothing is said about reflecting or verifying.
2. No punctuation touches a tag, so that a tag is tokenized in the prompt as it is in a response.
3. `r1-zero-prefilled` ends with the opening tag, as Logic-RL does (arXiv 2502.14768); the response
   then must not open the thought again.
4. `plain` has no tags at all. It is the control for a template's own effect: R1's template can cost
   an untrained model most of its accuracy (arXiv 2503.20783), and training then seems to gain it.
5. `r1` is the form of the released models (sections B.3.2, listings 5 to 7): after the thought comes a summary for
   whoever asked, without tags, with the answer in `\\boxed{}`. Nothing is explained in the prompt: a model learns
   the form by supervised fine-tuning. One line break follows the thought, where the released models
   write two. `r1-prefilled` ends with the opening tag, as later revisions of their chat template do.
"""

from dataclasses import dataclass
from typing import Literal

_QUESTION = "{question}"


@dataclass(frozen=True, slots=True)
class Tags:
    """The four tags of a response, in the order in which they have to come."""

    open_thought: str = "<think>"
    close_thought: str = "</think>"
    open_answer: str = "<answer>"
    close_answer: str = "</answer>"


@dataclass(frozen=True, slots=True)
class Template:
    """A prompt around a question."""

    name: str
    prompt: str
    """Text with `{question}` in it once; everything else is taken literally."""
    tags: Tags | None
    """None: the response has no tags, and its last line is the answer."""
    opens_thought: bool = False
    """The prompt ends with the tag that opens the thought, so the response must not write it."""
    later: str = "\n{question}\n"
    """The prompt of a question that follows an answer, in a conversation of several turns."""
    final: Literal["answer", "summary"] = "answer"
    """What follows the thought: the bare answer in its tags, or a summary without tags that holds it."""

    def __post_init__(self) -> None:
        for prompt in (self.prompt, self.later):
            assert prompt.count(_QUESTION) == 1, "a prompt holds {question} exactly once"
        if self.opens_thought:
            assert self.tags is not None, "a template without tags cannot open a thought"
            for prompt in (self.prompt, self.later):
                assert prompt.endswith(self.tags.open_thought), "the prompt ends with the tag"

    def render(self, question: str, later: bool = False) -> str:
        """The prompt for a question, the first or a later one of a conversation.

        Braces in the question survive: it is not a format string.
        """
        return (self.later if later else self.prompt).replace(_QUESTION, question)

    def respond(self, thought: str, final: str) -> str:
        """A response made of a thought and what follows it (answer or summary), as it follows the prompt."""
        whole = self.whole(thought, final)
        if self.tags is None:
            return whole
        return whole.removeprefix(self.tags.open_thought) if self.opens_thought else f" {whole}"

    def whole(self, thought: str, final: str) -> str:
        """A response with all its tags, that which a prompt may open too, so that it serves every prompt."""
        thought = thought.strip()
        if self.tags is None:
            return f"{thought}\n{final}" if thought else final
        inside = f"\n{thought}\n" if thought else "\n"
        if self.final == "answer":
            final = f"{self.tags.open_answer}{final}{self.tags.close_answer}"
        return f"{self.tags.open_thought}{inside}{self.tags.close_thought}\n{final}"


_R1_ZERO = (
    "A User asks a question and an Assistant answers it. "
    "Inside <think> </think> the Assistant first thinks about the question. "
    "Inside <answer> </answer> it then gives the final answer and nothing else.\n"
    "User: {question}\nAssistant:"
)

_R1 = "User: {question}\nAssistant:"
_LATER = f"\n{_R1}"

TEMPLATES = {
    template.name: template
    for template in (
        Template("r1-zero", _R1_ZERO, Tags(), later=_LATER),
        Template(
            "r1-zero-prefilled", _R1_ZERO + " <think>", Tags(), True, later=_LATER + " <think>"
        ),
        Template("plain", "{question}\n", None),
        Template("r1", _R1, Tags(), later=_LATER, final="summary"),
        Template(
            "r1-prefilled",
            _R1 + " <think>",
            Tags(),
            True,
            later=_LATER + " <think>",
            final="summary",
        ),
    )
}
