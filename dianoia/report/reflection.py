"""Which words the reader sees highlighted: those that `dianoia.text.reflection` counts.

The page highlights in the browser, so the rule is one regular expression that Python and JavaScript read
alike (flags: global, ignoring case). A test holds it against the words that are counted.
"""

_ENGLISH = (
    "wait", "mistakes?", "however", "but", "retry", "retries", "retried", "retrying", "errors?",
    "verify", "verifies", "verified", "verifying", "wrong", "evaluate[sd]?", "evaluating",
    "check(?:s|ed|ing)?",
)  # fmt: skip
_CHINESE = (
    "等等", "等一下", "错误", "(?<!不)错", "(?<!对)不对", "(?<!不)但是", "(?<!不)但", "(?<!只)不过", "然而",
    "重新", "重试", "验证", "检查", "检验", "核对", "评估",
)  # fmt: skip

PATTERN = f"(?<![a-z])(?:{'|'.join(_ENGLISH)})(?![a-z])|{'|'.join(_CHINESE)}"
