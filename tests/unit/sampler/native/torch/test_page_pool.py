"""Pages of the KV cache: none is handed out twice, and all come back."""

from hypothesis import given
from hypothesis import strategies as st

from dianoia.sampler.native.torch.page_pool import PAGE, SCRATCH, PagePool, pages_for


def test_pages_by_hand() -> None:
    assert [pages_for(n) for n in (0, 1, PAGE, PAGE + 1, 10 * PAGE)] == [0, 1, 1, 2, 10]
    pool = PagePool(3)
    assert pool.take(2) == [1, 2] and pool.take(2) is None and pool.free == 1
    pool.share([2])
    pool.release([1, 2])
    assert pool.free == 2, "page 2 has a user left"
    pool.release([2])
    assert pool.free == 3 and sorted(pool.take(3) or ()) == [1, 2, 3]


@given(
    st.integers(1, 12),
    st.lists(st.tuples(st.sampled_from(("take", "share", "release")), st.integers(0, 20))),
)
def test_no_page_twice_and_all_come_back(pages: int, actions: list[tuple[str, int]]) -> None:
    """Against a plain list of holders: a page is free exactly while nobody holds it."""
    pool, held = PagePool(pages), list[list[int]]()
    for action, number in actions:
        used = {page for holder in held for page in holder}
        if action == "take":
            taken = pool.take(number)
            assert (taken is None) == (number > pages - len(used))
            if taken is not None:
                assert len(set(taken)) == number and not used & set(taken)
                assert SCRATCH not in taken and all(1 <= page <= pages for page in taken)
                held.append(taken)
        elif held and action == "share":
            shared = held[number % len(held)]
            pool.share(shared)
            held.append(list(shared))
        elif held:
            pool.release(held.pop(number % len(held)))
        assert pool.free == pages - len({page for holder in held for page in holder})
    for holder in held:
        pool.release(holder)
    assert pool.free == pages
