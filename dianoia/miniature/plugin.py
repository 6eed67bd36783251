"""The miniature as a plugin: what it adds, by name. Nothing imports this module but the registry, by its name."""

from functools import partial

from dianoia.miniature.annotators import (
    MiniatureAnnotator,
    demonstrations,
    grade_items,
    score_answer,
)
from dianoia.miniature.corpus import documents
from dianoia.miniature.problems import SETS, MiniatureProblems
from dianoia.miniature.rewriter import MiniatureRewriter
from dianoia.miniature.tokenizer import END, train_tokenizer
from dianoia.tasks.plugins import Corpus, Plugin, PluginVerifier, PreferenceRules

_RULES = PreferenceRules(
    MiniatureAnnotator,
    {
        # No pairs of harmful requests: `quality` has no scale for them, only safe or not.
        "pairwise": frozenset({"general", "near-miss"}),
        "pointwise": frozenset({"general", "near-miss", "safety"}),
    },
)

PLUGIN = Plugin(
    problem_sets={f"miniature/{name}": partial(MiniatureProblems, name) for name in SETS},
    # A gold answer has no friendly closing, which counts a quarter.
    verifiers={
        "miniature": PluginVerifier(
            score_answer,
            # As text, `module:function`, since a worker process imports it by name.
            worker=f"{grade_items.__module__}:{grade_items.__name__}",
            # What `score_answer` reads of a problem, and the reason why it needs no gold answer to compare with.
            columns={"kind": str, "subject": str, "n": int},
            full_score=0.75,
            compares_gold=False,
        )
    },
    demonstrations={"miniature/general": demonstrations},
    corpora={"miniature": Corpus(documents, train_tokenizer, END)},
    rewriters={"miniature": MiniatureRewriter},
    preference_rules={"miniature": _RULES},
)
