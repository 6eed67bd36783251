"""A whole response from its parts, in the form that a template asks for.

In: a thought, and what stands after it. Out: the text, tags included; also that which a prefilled prompt opens,
so that data made under one template serves under the other. What a template without tags gets has none: the
thought, then the last line.
"""

from dianoia.text.template import Template


def respond(thought: str, final: str, template: Template) -> str:
    """The response, without white space around it."""
    thought, tags = thought.strip(), template.tags
    if tags is None:
        return f"{thought}\n{final}".strip()
    inside = f"\n{thought}\n" if thought else "\n"
    answered = f"{tags.open_answer}{final}{tags.close_answer}"
    return f"{tags.open_thought}{inside}{tags.close_thought}\n{answered}"
