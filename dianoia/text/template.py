"""Templates: how a question becomes a prompt, and which tags the response has to use.

In: the text of a question. Out: the prompt as plain text, and the tags for `dianoia.text.parsing`.
Not here: chat templates and special tokens (R1-Zero has none), and tokenization.

Decisions where DeepSeek-R1 (arXiv 2501.12948v2) is silent or where we depart from it:
1. The R1-Zero template (table 1 of v1) is shorter and in our own words: every word of it costs a small model a
   token. It asks for the same, structure only: first the thought, then the bare answer. It does not mention
   reflection or verification.
2. No punctuation touches a tag, so that a tag has the same tokens in the prompt as in a response.
3. The prompt of `r1-zero-prefilled` ends with the opening tag, as in Logic-RL (arXiv 2502.14768). The response
   then must not open the thought again.
4. `plain` has no tags at all. It is the control for the effect of the template itself: R1's template can cost an
   untrained model most of its accuracy (arXiv 2503.20783), which training then seems to gain.
5. `r1` is the form of the released models (section B.3.2, listings 5 to 7): after the thought comes a summary for
   the user, without tags, with the answer in `\\boxed{}`. The prompt explains nothing: a model learns the form by
   supervised fine-tuning. One line break follows the thought; the released models write two. `r1-prefilled` ends
   with the opening tag, as later revisions of their chat template do.
"""

from dataclasses import dataclass
from typing import Literal

_QUESTION = "{question}"


@dataclass(frozen=True, slots=True)
class Tags:
    """The four tags of a response, in the required order."""

    open_thought: str = "<think>"
    close_thought: str = "</think>"
    open_answer: str = "<answer>"
    close_answer: str = "</answer>"


@dataclass(frozen=True, slots=True)
class Template:
    """A prompt around a question."""

    name: str
    prompt: str
    """Text that holds `{question}` exactly once; everything else is literal."""
    tags: Tags | None
    """None: the response has no tags, and its last line is the answer."""
    opens_thought: bool = False
    """The prompt ends with the tag that opens the thought, so the response must not write it."""
    later: str = "\n{question}\n"
    """The prompt of a later question in a conversation of several turns."""
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
        """Return the prompt for a question, the first or a later one of a conversation."""
        # `replace` and not `format`: the question may hold braces.
        return (self.later if later else self.prompt).replace(_QUESTION, question)

    def respond(self, thought: str, final: str) -> str:
        """Return a response to the prompt, made of a thought and an answer or summary."""
        response = self.whole(thought, final)
        if self.tags is None:
            return response
        if self.opens_thought:
            return response.removeprefix(self.tags.open_thought)
        return f" {response}"

    def whole(self, thought: str, final: str) -> str:
        """Return a response with all its tags, including the one that a prompt may open."""
        thought = thought.strip()
        if self.tags is None:
            return f"{thought}\n{final}" if thought else final
        # An empty thought keeps one line break, so that the tags never touch.
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
