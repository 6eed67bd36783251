"""Values are formatted for readers, and no text can leave its element."""

import re

from dianoia.report.html_values import amount, duration, embed, interval, plain
from dianoia.storage.estimate import Estimate


def test_embedded_json_cannot_leave_its_script() -> None:
    text = embed({"a": "</script><!--<script>&"})
    assert not re.search("[<>&]", text)
    assert "</script>" in eval(text, {})["a"]  # noqa: S307


def test_values_are_written_for_people() -> None:
    assert amount("pass@1", 0.914) == "91.4\u00a0%" and amount("thought_tokens", 58.66) == "58.7"
    assert [plain(v) for v in (0, 0.0004, 0.25, 3.14159, 1234.5)] == [
        "0",
        "0.0004",
        "0.25",
        "3.14",
        "1,234",
    ]
    assert [duration(s) for s in (0.2, 59.6, 187.4, 7265, None)] == [
        "0.2 s", "60 s", "3 min 07 s", "2 h 01 min", "unknown",
    ]  # fmt: skip


def test_the_interval_of_a_share_stays_within_0_and_100() -> None:
    wide = Estimate(0.99, -0.013, 1.011, 48)
    assert interval("target_language", wide) == "0.0 to 100.0"
    assert interval("vote_gain", wide) == "-1.3 to 100.0", "a gain may be negative"
    assert interval("thought_tokens", wide) == "-0.013 to 1.01"
