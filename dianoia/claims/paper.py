"""The paper's own stage table, and its names for the parts of `[claims]`.

Source: DeepSeek-R1, arXiv 2501.12948v2, table 3 (Nature 645:633-638, table 2). In per cent, except the
rating. Metrics: exact match (MMLU), F1 (DROP), prompt strict (IF-Eval), length-controlled win rate (AlpacaEval
2.0), win rate against GPT-4-1106 (ArenaHard), otherwise pass@1.
"""

NAMES = {
    "base": "Base",
    "zero": "R1-Zero",
    "dev1": "Dev1",
    "dev2": "Dev2",
    "dev3": "Dev3",
    "r1": "R1",
    # Small models.
    "distilled": "Distilled",
    "small_base": "Small base",
    "small_zero": "Small Zero",
    # The comparison of algorithms (A.3).
    "grpo": "GRPO",
    "ppo": "PPO, λ = 1",
    "ppo_095": "PPO, λ = 0.95",
    # Reward hacking (B.5).
    "overoptimized": "Over-optimized",
}
"""Names of the parts for people."""

CHAIN = ("base", "zero", "dev1", "dev2", "dev3", "r1")
"""The parts that lead to R1."""

STAGES = ("zero", "dev1", "dev2", "dev3", "r1")
"""The columns of table 3."""

TABLE: dict[str, dict[str, tuple[float, ...]]] = {
    "English": {
        "MMLU": (88.8, 89.1, 91.2, 91.0, 90.8),
        "MMLU-Redux": (85.6, 90.0, 93.0, 93.1, 92.9),
        "MMLU-Pro": (68.9, 74.1, 83.8, 83.1, 84.0),
        "DROP": (89.1, 89.8, 91.1, 88.7, 92.2),
        "IF-Eval": (46.6, 71.7, 72.0, 78.1, 83.3),
        "GPQA Diamond": (75.8, 66.1, 70.7, 71.2, 71.5),
        "SimpleQA": (30.3, 17.8, 28.2, 24.9, 30.1),
        "FRAMES": (82.3, 78.5, 81.8, 81.9, 82.5),
        "AlpacaEval 2.0": (24.7, 50.1, 55.8, 62.1, 87.6),
        "ArenaHard": (53.6, 77.0, 73.2, 75.6, 92.3),
    },
    "Code": {
        "LiveCodeBench": (50.0, 57.5, 63.5, 64.6, 65.9),
        "Codeforces, percentile": (80.4, 84.5, 90.5, 92.1, 96.3),
        "Codeforces, rating": (1444, 1534, 1687, 1746, 2029),
        "SWE-bench Verified": (43.2, 39.6, 44.6, 45.6, 49.2),
        "Aider-Polyglot": (12.2, 6.7, 25.6, 44.8, 53.3),
    },
    "Mathematics": {
        "AIME 2024": (77.9, 59.0, 74.0, 78.1, 79.8),
        "MATH-500": (95.9, 94.2, 95.9, 95.4, 97.3),
        "CNMO 2024": (88.1, 58.0, 73.9, 77.3, 78.8),
    },
    "Chinese": {
        "CLUEWSC": (93.1, 92.8, 92.6, 91.6, 92.8),
        "C-Eval": (92.8, 85.7, 91.9, 86.4, 91.8),
        "C-SimpleQA": (66.4, 58.8, 64.2, 66.9, 63.7),
    },
}
"""Scores by group and benchmark, one per stage."""
