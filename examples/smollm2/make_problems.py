"""Write the problems of this example: sums of four levels, worked sums for a cold start, and the largest of some numbers.

    python examples/smollm2/make_problems.py data/smollm2

Levels of the sums, as the column `difficulty`: 1, a number up to 24 and a digit; 2, two numbers of two digits; 3, three numbers
of one digit; 4, three numbers, one of them with two digits. Levels of the largest: the numbers to choose from, 3 to 5. The files
are the same on every machine.
"""

import json
import random
import sys
from collections.abc import Callable
from pathlib import Path

Row = dict[str, object]

SHOWN = {"What is 4 + 3?", "What is 8 + 6?", "What is 12 + 5?"}
"""Questions that the prompt shows as examples: they are no problems."""

SIZES = {1: 300, 2: 1200, 3: 500, 4: 1200}
"""Number of sums per level."""


def terms_of(level: int, rng: random.Random) -> list[int]:
    """Return the terms of a sum, in random order."""
    terms = {
        1: lambda: [rng.randint(1, 24), rng.randint(1, 9)],
        2: lambda: [rng.randint(10, 99), rng.randint(10, 99)],
        3: lambda: [rng.randint(1, 9) for _ in range(3)],
        4: lambda: [rng.randint(10, 60), rng.randint(1, 9), rng.randint(1, 9)],
    }[level]()
    rng.shuffle(terms)
    return terms


def sum_problem(level: int, rng: random.Random) -> Row:
    """Return one sum."""
    terms = terms_of(level, rng)
    question = f"What is {' + '.join(map(str, terms))}?"
    return {
        "question": question,
        "answer": str(sum(terms)),
        "verifier": "number",
        "domain": "sums",
        "difficulty": level,
    }


def worked_sum(problem: Row) -> Row:
    """Return a sum with its derivation, one addition at a time, as a sample for fine-tuning."""
    terms = [int(word) for word in str(problem["question"])[len("What is ") : -1].split(" + ")]
    total, steps = terms[0], []
    for term in terms[1:]:
        steps.append(f"{total} + {term} = {total + term}.")
        total += term
    return {"prompt": problem["question"], "thought": " ".join(steps), "answer": str(total)}


def largest_problem(rng: random.Random) -> Row:
    """Return a question for the largest of three to five numbers of two or three digits."""
    count, digits = rng.randint(3, 5), rng.choice((2, 3))
    numbers = rng.sample(range(10 ** (digits - 1), 10**digits), count)
    return {
        "question": f"Which number is the largest: {', '.join(map(str, numbers))}?",
        "answer": str(max(numbers)),
        "verifier": "number",
        "domain": "largest",
        "difficulty": count,
    }


def distinct(make: Callable[[], Row], count: int) -> list[Row]:
    """Return `count` problems with different questions."""
    rows: dict[object, Row] = {}
    while len(rows) < count:
        row = make()
        if row["question"] not in SHOWN:
            rows[row["question"]] = row
    return list(rows.values())


def write(path: Path, rows: list[Row]) -> None:
    """Write one problem per line."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    print(f"{path}: {len(rows)} problems")


def main() -> None:
    """Write every file of problems into the folder that the command names."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(1)
    levels = {
        level: distinct(lambda level=level: sum_problem(level, rng), size)  # type: ignore[misc]
        for level, size in SIZES.items()
    }
    for level, rows in levels.items():
        write(folder / f"sums-{level}.jsonl", rows)
    mixed = [row for rows in levels.values() for row in rows]
    rng.shuffle(mixed)  # an evaluation of the first so many problems meets every level
    write(folder / "sums.jsonl", mixed)
    taken = {row["question"] for row in mixed}
    fresh = [sum_problem(1 + number % 4, rng) for number in range(800)]
    unseen = {row["question"]: row for row in fresh if row["question"] not in taken | SHOWN}
    write(folder / "worked-sums.jsonl", [worked_sum(row) for row in unseen.values()][:300])
    write(folder / "largest.jsonl", distinct(lambda: largest_problem(rng), 2000))


if __name__ == "__main__":
    main()
