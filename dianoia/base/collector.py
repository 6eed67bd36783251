"""Python's garbage collector: what it need not look at."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def objects_frozen() -> Iterator[None]:
    """In the block, let the garbage collector pass over what is there already: the libraries' million objects.

    Where somebody has frozen objects before, all stays as it is: at the end of the block those would be thawed too.
    """
    if gc.get_freeze_count():
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
