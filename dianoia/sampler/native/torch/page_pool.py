"""Pages of a KV cache: which are free, and who uses the others. No torch.

A page holds the keys and values of PAGE tokens of one sample, or of a prompt that several samples share. Page 0 is never
handed out: rows of a step without a sample write there.
"""

from collections.abc import Sequence

PAGE = 64
"""Tokens of a page: what a program of the attention kernel loads at a time."""
SCRATCH = 0
"""The page of rows without a sample."""


def pages_for(tokens: int) -> int:
    """Return how many pages hold so many tokens."""
    return -(-tokens // PAGE)


class PagePool:
    """Hands out pages 1 to `pages`. A page is free again once all of its users have released it."""

    def __init__(self, pages: int) -> None:
        self.pages = pages
        # taken from the end, so that low pages go first: a pool that was never full stays dense
        self._free = list(range(pages, 0, -1))
        self._users = [0] * (pages + 1)

    @property
    def free(self) -> int:
        """Number of free pages."""
        return len(self._free)

    def take(self, count: int) -> list[int] | None:
        """Return `count` free pages, each with one user; None, and take nothing, if there are fewer."""
        if count > len(self._free):
            return None
        taken = [self._free.pop() for _ in range(count)]
        for page in taken:
            self._users[page] = 1
        return taken

    def share(self, pages: Sequence[int]) -> None:
        """Add a user to pages that have one."""
        for page in pages:
            assert self._users[page] > 0, f"page {page} is free and cannot be shared"
            self._users[page] += 1

    def release(self, pages: Sequence[int]) -> None:
        """Take a user from each page; pages without users are free."""
        for page in pages:
            assert self._users[page] > 0, f"page {page} is free already"
            self._users[page] -= 1
            if not self._users[page]:
                self._free.append(page)
