"""Work that ranks share out by its cost."""

from hypothesis import given
from hypothesis import strategies as st

from dianoia.distributed.shares import claimed_chunks, share_out, shares_by_cost
from tests.rank_processes import run_ranks


def test_the_dearest_go_first_to_who_has_least() -> None:
    # 7 to the first part, 6 and 5 to the second, 4 and then 1 to the first, which come to 12 and 11.
    assert shares_by_cost([4, 7, 1, 6, 5], 2) == [[0, 1, 2], [3, 4]]
    assert shares_by_cost([], 3) == [[], [], []]
    assert shares_by_cost([0, 0, 0, 0], 2) == [[0, 2], [1, 3]]
    assert shares_by_cost([1.0, 2.0], 1) == [[0, 1]]


@given(st.lists(st.integers(0, 100), max_size=40), st.integers(1, 6))
def test_every_item_has_one_owner_and_no_part_is_far_above_the_mean(
    costs: list[int], parts: int
) -> None:
    shares = shares_by_cost(costs, parts)
    assert sorted(index for share in shares for index in share) == list(range(len(costs)))
    loads = [sum(costs[index] for index in share) for share in shares]
    assert max(loads) <= sum(costs) / parts + max(costs, default=0) + 1e-6


def test_chunks_to_claim_become_smaller() -> None:
    # 20 // 8 = 2 twice more than 16 are left, then one at a time.
    assert [len(chunk) for chunk in claimed_chunks(20, 2)] == [2, 2, 2, *[1] * 14]
    # 64 of 512 at first; 57 claims in place of 512.
    sizes = [len(chunk) for chunk in claimed_chunks(512, 2)]
    assert sizes[0] == 64 and sizes == sorted(sizes, reverse=True) and len(sizes) < 60
    assert claimed_chunks(0, 2) == []


@given(st.integers(0, 3000), st.integers(1, 9))
def test_chunks_to_claim_hold_every_number_once(total: int, parts: int) -> None:
    chunks = claimed_chunks(total, parts)
    assert [number for chunk in chunks for number in chunk] == list(range(total))


def _shared(words: list[str]) -> tuple[list[str], list[str], int]:
    seen: list[str] = []

    def shout(mine: list[str]) -> list[str]:
        seen.extend(mine)
        return [word.upper() for word in mine]

    everything = share_out(words, shout, [len(word) for word in words], "gather words")
    at_one = share_out(words, shout, [1] * len(words), "gather words", rank=1)
    return everything, at_one, len(seen)


def test_each_rank_works_on_its_share_and_has_every_result() -> None:
    words = ["a", "bbbb", "cc", "ddd", "e"]
    results = run_ranks(_shared, 2, words)
    upper = [word.upper() for word in words]
    assert all(everything == at_one == upper for everything, at_one, _ in results)
    assert sum(count for *_, count in results) == 10 and results[1][2] >= 5


def test_a_process_by_itself_does_all_of_it() -> None:
    assert share_out([3, 1], lambda mine: [2 * m for m in mine], [1, 1], "gather") == [6, 2]
