"""The workers of a process: lots, memory, order, one set for each process."""

import os
from concurrent.futures import ThreadPoolExecutor

from dianoia.sandbox.workers import Ended
from dianoia.tasks.verifier_workers import Workers


def test_one_item_that_is_killed_does_not_cost_its_lot(obedient: Workers) -> None:
    items = ["1", "loop", "2", "exit", "3", "memory", "4", "5", "6"]
    replies = obedient.replies(items)
    assert [reply.value for reply in replies] == [1, None, 2, None, 3, None, 4, 5, 6]
    lost = {item: r.ended for item, r in zip(items, replies, strict=True) if r.value is None}
    assert lost == {
        "loop": Ended.TIMED_OUT,
        "exit": Ended.CRASHED,
        "memory": Ended.OUT_OF_MEMORY,
    }


def test_equal_items_are_asked_once(obedient: Workers) -> None:
    replies = obedient.replies(["a", "b", "a", "loop", "loop"])
    ended_before = sum(obedient.pool().ended.values())
    assert ended_before == 1 + 3, "one lot of three, and each alone, since one was killed"
    assert obedient.replies(["b", "a", "loop"]) == [replies[1], replies[0], replies[3]]
    assert sum(obedient.pool().ended.values()) == ended_before


def test_only_so_many_are_remembered(obedient: Workers) -> None:
    obedient.replies([f"text {n}" for n in range(20_003)])
    assert len(obedient._remembered) == 20_000
    assert obedient.replies(["text 0"])[0].value == "text 0"


def test_many_threads_may_ask_and_start_one_service(obedient: Workers) -> None:
    assert not obedient.started
    with ThreadPoolExecutor(8) as threads:
        result = list(threads.map(lambda n: obedient.replies([str(n), "x"]), range(100)))
    assert [[r.value for r in replies] for replies in result] == [[n, "x"] for n in range(100)]
    assert len(obedient._pools) == 1


def test_a_forked_process_has_workers_of_its_own(obedient: Workers) -> None:
    assert [reply.value for reply in obedient.replies(["1"])] == [1]
    child = os.fork()
    if child == 0:
        fine = [r.value for r in obedient.replies(["1", "2"])] == [1, 2] and obedient.started
        obedient.pool().close()
        os._exit(0 if fine and len(obedient._pools) == 2 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert [reply.value for reply in obedient.replies(["3"])] == [3]


def test_nothing_asked_is_nothing_started(obedient: Workers) -> None:
    assert obedient.replies([]) == [] and not obedient.started
