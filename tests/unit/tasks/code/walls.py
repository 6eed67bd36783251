"""The sandboxes that programs are tried in."""

import pytest

from dianoia.sandbox.sandbox import STRONG, offered

STRONGEST = next((kind for kind in STRONG if offered(kind) is None), STRONG[0])
KINDS = [pytest.param(kind, marks=[] if kind == STRONGEST else pytest.mark.slow) for kind in STRONG]
"""The sandbox that this machine uses is tried every time, and the other one with the slow tests."""
