"""What a `[data]` table makes of a row: `Defaults` for `tasks.problem_files`."""

from collections.abc import Collection
from dataclasses import replace
from functools import partial

from dianoia.base.errors import ConfigError, nearest
from dianoia.config import FileSettings
from dianoia.tasks.data.mappings import Mapping, mapping_of, prepared
from dianoia.tasks.problem_files import QUESTION_COLUMNS, Defaults


def reading_of(data: FileSettings, verifiers: Collection[str], defaults: Defaults) -> Defaults:
    """How the rows of a table are read; what the table does not say is as in `defaults`.

    Raises ConfigError for a mapping or a verifier that there is not.
    """
    mapping = mapping_of(data)
    if data.verifier is not None and data.verifier not in verifiers:
        raise ConfigError(
            f"verifier = {data.verifier!r}: there is no such verifier{nearest(data.verifier, verifiers)}; use one "
            f"of {', '.join(sorted(verifiers))}"
        )
    verifier, domain = _usual(mapping, verifiers, defaults)
    found = replace(
        defaults,
        verifier=data.verifier or verifier,
        domain=data.domain or domain,
        language=data.language,
    )
    if mapping is None and not data.columns:
        return found
    named = {*data.columns, *(() if mapping is None else ("question",))}
    questions = ("question", *QUESTION_COLUMNS) if "question" in named else QUESTION_COLUMNS
    return replace(
        found,
        questions=tuple(dict.fromkeys(questions)),
        prepare=partial(prepared, mapping=mapping, columns=data.columns),
        lenient=mapping is not None,
    )


def _usual(
    mapping: Mapping | None, verifiers: Collection[str], defaults: Defaults
) -> tuple[str, str]:
    """Verifier and domain where the table says nothing. General prompts stay what they are."""
    if mapping is None or not defaults.graded:
        return defaults.verifier, defaults.domain
    named = (name for name in mapping.verifiers if name in verifiers)
    return next(named, defaults.verifier), mapping.domain
