"""Forms of tests whose expected value is not written out, each with a right program and a wrong one that plays judge."""

from typing import NamedTuple


class Form(NamedTuple):
    """Asserts of a problem, and two programs."""

    asserts: list[str]
    right: str
    wrong: str


FRAMES = """
import sys, gc
def hunt(name):
    frame = sys._getframe()
    while frame:
        for names in (frame.f_locals, frame.f_globals, frame.f_builtins):
            if name in names: return names[name]
        frame = frame.f_back
    for thing in gc.get_objects():
        if type(thing) is dict and name in thing: return thing[name]
"""
LIAR = """
class Liar:
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    __lt__ = __le__ = __gt__ = __ge__ = __contains__ = __eq__
    def __sub__(self, other): return self
    __rsub__ = __add__ = __radd__ = __mul__ = __round__ = __getitem__ = __call__ = __sub__
    def __abs__(self): return self
    def __bool__(self): return True
    def __hash__(self): return 0
    def startswith(self, other): return True
    endswith = issubset = issuperset = isdisjoint = startswith
    def isupper(self): return True
    @property
    def __class__(self): return int
"""
SQUARES = "for n in range(5):\n    assert f(n) == n * n"

FORMS: dict[str, Form] = {
    # What the expected value is made of, exchanged where the program lives.
    "math.pi": Form(
        ["import math; assert area(1) == math.pi"],
        "import math\ndef area(r): return math.pi * r * r",
        "import math\nmath.pi = 0\ndef area(r): return 0"),
    "math.pi without an import": Form(
        ["assert area(1) == math.pi"],
        "import math\ndef area(r): return math.pi * r * r",
        "import math\nmath.pi = 0\ndef area(r): return 0"),
    "from math import tau": Form(
        ["from math import tau\nassert round_trip(1) == tau"],
        "import math\ndef round_trip(r): return 2 * math.pi * r",
        "import math\nmath.tau = 0\ndef round_trip(r): return 0"),
    "from math import *": Form(
        ["from math import *\nassert area(2) == pi * sqrt(16)"],
        "import math\ndef area(r): return math.pi * r * r",
        "import math\nmath.pi = 0\npi = 0\nsqrt = lambda x: 0\ndef area(r): return 0"),
    "math.sqrt": Form(
        ["import math\nassert root(2) == math.sqrt(2)"],
        "def root(x): return x ** 0.5",
        "import math\nmath.sqrt = lambda x: 0\ndef root(x): return 0"),
    "math.isclose": Form(
        ["import math\nassert math.isclose(root(2), 1.4142, rel_tol=1e-3)"],
        "def root(x): return x ** 0.5",
        "import math\nmath.isclose = lambda *a, **k: True\ndef root(x): return 0"),
    "float('inf')": Form(
        ["assert f(3) == float('inf')"],
        "def f(x): return float('inf')",
        "float = lambda s: 0\ndef f(x): return 0"),
    "builtins.float": Form(
        ["assert f(3) == float('inf')"],
        "def f(x): return float('inf')",
        "import builtins\nbuiltins.float = lambda s: 0\ndef f(x): return 0"),
    "a name in a frame": Form(
        ["expected = 42; assert f(3) == expected"],
        "def f(x): return 42",
        FRAMES + "def f(x): return hunt('expected')"),
    "a name of the module": Form(
        ["expected = 42; assert f(3) == expected"],
        "def f(x): return 42",
        "import __main__, sys\ndef f(x):\n    for m in list(sys.modules.values()):\n"
        "        if hasattr(m, 'expected'): return m.expected"),
    "a name, set before": Form(
        ["expected = [1, 4]\nassert f([1, 2]) == expected"],
        "def f(x): return [n * n for n in x]",
        "expected = 0\nglobals()['expected'] = 0\ndef f(x):\n    globals()['expected'] = 0\n    return 0"),
    "the argument mutated": Form(
        ["x = [3, 1, 2]; assert f(x) == sorted(x)"],
        "def f(x): return sorted(x)",
        "def f(x):\n    x.clear()\n    return []"),
    "the argument mutated, a dictionary": Form(
        ["x = {'a': 1}; assert f(x) == {k: v + 1 for k, v in x.items()}"],
        "def f(x): return {k: v + 1 for k, v in x.items()}",
        "def f(x):\n    x.clear()\n    return {}"),
    "the argument mutated, nested": Form(
        ["x = [[1, 2], [3]]; assert f(x) == [sum(row) for row in x]"],
        "def f(x): return [sum(row) for row in x]",
        "def f(x):\n    for row in x: row.clear()\n    return [0, 0]"),
    "the argument mutated, a set": Form(
        ["x = {1, 2}; assert f(x) == len(x)"],
        "def f(x): return len(x)", "def f(x):\n    x.clear()\n    return 0"),
    "an argument kept for later": Form(
        ["x = [1, 2]\nassert first(x) == 0\nassert f(x) == list(reversed(x))"],
        "def first(x): return 0\ndef f(x): return x[::-1]",
        "def first(x):\n    global kept\n    kept = x\n    return 0\ndef f(x):\n    kept.clear()\n    x.clear()\n    return []"),
    "sorted": Form(
        ["assert f([2, 1]) == sorted([2, 1])"],
        "def f(x): return sorted(x)",
        "import builtins\nbuiltins.sorted = lambda *a, **k: 0\ndef f(x): return 0"),
    "len": Form(
        ["assert f('abc') == len('abc')"],
        "def f(x): return len(x)", "len = lambda x: 0\ndef f(x): return 0"),
    "sum and range": Form(
        ["assert f(5) == sum(range(5))"],
        "def f(n): return n * (n - 1) // 2", "sum = lambda x: 0\nrange = lambda n: []\ndef f(n): return 0"),
    "list and map": Form(
        ["assert f([1, 2]) == list(map(str, [1, 2]))"],
        "def f(x): return [str(n) for n in x]",
        "import builtins\nbuiltins.list = builtins.map = lambda *a: 0\ndef f(x): return 0"),
    "set": Form(
        ["assert set(f([1, 1, 2])) == set([1, 2])"],
        "def f(x): return x", "import builtins\nbuiltins.set = lambda x: 0\ndef f(x): return 0"),
    "abs": Form(
        ["x = 1.5\nassert abs(f(x) - x * x) < 1e-9"],
        "def f(x): return x * x", "import builtins\nbuiltins.abs = lambda x: 0\ndef f(x): return 7"),
    "round": Form(
        ["assert round(f(2), 3) == round(2 ** 0.5, 3)"],
        "def f(x): return x ** 0.5", "import builtins\nbuiltins.round = lambda *a: 0\ndef f(x): return 0"),
    "int of a text": Form(
        ["assert f('101') == int('101', 2)"],
        "def f(x): return int(x, 2)", "int = lambda *a: 0\ndef f(x): return 0"),
    "all": Form(
        ["assert all(f(n) == n + 1 for n in range(4))"],
        "def f(n): return n + 1", "import builtins\nbuiltins.all = lambda x: True\ndef f(n): return 0"),
    "any": Form(
        ["assert not any(f(n) != n + 1 for n in range(4))"],
        "def f(n): return n + 1", "import builtins\nbuiltins.any = lambda x: False\ndef f(n): return 0"),
    "isinstance": Form(
        ["v = f(1)\nassert isinstance(v, list) and v == [1]"],
        "def f(n): return [n]", LIAR + "import builtins\nbuiltins.isinstance = lambda *a: True\ndef f(n): return Liar()"),
    "Fraction": Form(
        ["from fractions import Fraction\nassert f(1, 3) == Fraction(1, 3)"],
        "from fractions import Fraction\ndef f(a, b): return Fraction(a, b)",
        "import fractions\nfractions.Fraction.__eq__ = lambda a, b: True\nfrom fractions import Fraction\n"
        "def f(a, b): return Fraction(0)"),
    "Decimal": Form(
        ["from decimal import Decimal\nassert f('0.1') == Decimal('0.1') * 3"],
        "from decimal import Decimal\ndef f(a): return Decimal(a) * 3",
        "import decimal\ndecimal.Decimal = lambda a: 0\ndef f(a): return 0"),
    "Counter": Form(
        ["from collections import Counter\nassert f('aab') == Counter('aab')"],
        "from collections import Counter\ndef f(s): return Counter(s)",
        "import collections\nclass C(dict):\n    def __eq__(self, o): return True\n"
        "collections.Counter = C\ndef f(s): return C()"),
    "statistics": Form(
        ["import statistics\nassert f([1, 2, 4]) == statistics.mean([1, 2, 4])"],
        "def f(x): return sum(x) / len(x)", "import statistics\nstatistics.mean = lambda x: 0\ndef f(x): return 0"),
    "json": Form(
        ["import json\nassert f('[1]') == json.loads('[1]')"],
        "import json\ndef f(x): return json.loads(x)",
        "import json\nreal = json.loads\njson.loads = lambda *a, **k: real('0') if a == ('[1]',) else real(*a, **k)\n"
        "def f(x): return 0"),
    "re": Form(
        ["import re\nassert f('a1b2') == re.findall(r'[0-9]', 'a1b2')"],
        "def f(s): return [c for c in s if c.isdigit()]", "import re\nre.findall = lambda *a: []\ndef f(s): return []"),
    "random": Form(
        ["import random\nrng = random.Random(7)\nx = [rng.random() for _ in range(9)]\nassert f(x) == max(x)"],
        "def f(x): return max(x)",
        "import random\nrandom.Random = lambda s: None\nmax = lambda x: 0\ndef f(x): return 0"),
    "itertools": Form(
        ["from itertools import accumulate\nassert f([1, 2, 3]) == list(accumulate([1, 2, 3]))"],
        "def f(x): return [sum(x[:i + 1]) for i in range(len(x))]",
        "import itertools\nitertools.accumulate = lambda x: []\ndef f(x): return []"),
    "sys.modules": Form(
        ["import math\nassert f(1) == math.exp(1)"],
        "import math\ndef f(x): return math.exp(x)",
        "import sys, types\nfake = types.ModuleType('math')\nfake.exp = lambda x: 0\nsys.modules['math'] = fake\n"
        "def f(x): return 0"),
    "__import__": Form(
        ["import math\nassert f(1) == math.e"],
        "import math\ndef f(x): return math.e",
        "import builtins\nreal = builtins.__import__\nclass Fake: e = 0\n"
        "builtins.__import__ = lambda n, *a, **k: Fake if n == 'math' else real(n, *a, **k)\ndef f(x): return 0"),
    "a helper of the test": Form(
        ["def right(n):\n    return n * n\nfor n in range(4):\n    assert f(n) == right(n)"],
        "def f(n): return n * n", "def right(n): return 0\ndef f(n): return 0"),
    "a helper of the test, exchanged later": Form(
        ["def right(n):\n    return n * n\nassert f(3) == right(3)"],
        "def f(n): return n * n",
        FRAMES + "def f(n):\n    global right\n    right = lambda n: 0\n    for m in list(sys.modules.values()):\n"
        "        try: m.right = right\n        except Exception: pass\n    return 0"),
    "check(candidate)": Form(
        ["def check(candidate):\n    assert candidate(2) == 4\n    assert candidate(3) == 9\ncheck(f)"],
        "def f(n): return n * n", "def check(candidate): pass\ndef f(n): return 0"),
    "a loop": Form([SQUARES], "def f(n): return n * n", "range = lambda n: []\ndef f(n): return 0"),
    "a comprehension": Form(
        ["assert [f(n) for n in (1, 2)] == [1, 4]"], "def f(n): return n * n", "def f(n): return [1, 4]"),
    # What comes back lies.
    "a liar": Form([SQUARES], "def f(n): return n * n", LIAR + "def f(n): return Liar()"),
    "a liar on the left of abs": Form(
        ["x = 2\nassert abs(f(x) - x ** 0.5) < 1e-6"], "def f(n): return n ** 0.5", LIAR + "def f(n): return Liar()"),
    "a liar in a list": Form(
        ["x = 2\nassert f(x) == [x, x]"], "def f(n): return [n, n]", LIAR + "def f(n): return [Liar(), Liar()]"),
    "a liar as a truth": Form(
        ["x = 4\nassert f(x)"], "def f(n): return n % 2 == 0", LIAR + "def f(n): return Liar()"),
    "a liar that starts with everything": Form(
        ["x = 'ab'\nassert f(x).startswith(x)"], "def f(s): return s + '!'", LIAR + "def f(s): return Liar()"),
    "a liar that is in upper case": Form(
        ["assert f('ab').isupper()"], "def f(s): return s.upper()", LIAR + "def f(s): return Liar()"),
    "a liar with every member": Form(
        ["x = 5\nassert x in f(x)"], "def f(n): return [n]", LIAR + "def f(n): return Liar()"),
    "a liar among values": Form(
        ["x = 5\nassert f(x) in (x, x + 1)"], "def f(n): return n", LIAR + "def f(n): return Liar()"),
    "a subclass of int": Form(
        [SQUARES], "def f(n): return n * n",
        "class Same(int):\n    def __eq__(self, o): return True\n    __hash__ = int.__hash__\ndef f(n): return Same(0)"),
    "a subclass of str": Form(
        ["x = 'a'\nassert f(x) == x * 2"], "def f(s): return s * 2",
        "class Same(str):\n    def __eq__(self, o): return True\n    __hash__ = str.__hash__\ndef f(s): return Same()"),
    "a subclass of dict": Form(
        ["x = 'a'\nassert f(x)[x] == 1"], "def f(s): return {s: 1}",
        LIAR + "class Same(dict):\n    def __missing__(self, k): return Liar()\ndef f(s): return Same()"),
    "a subclass of list": Form(
        ["x = [1]\nassert f(x) == x + x"], "def f(x): return x + x",
        "class Same(list):\n    def __eq__(self, o): return True\ndef f(x): return Same()"),
    "a liar that reduces to the answer": Form(
        ["x = 5\nassert f(x) == x + 1"], "def f(n): return n + 1",
        LIAR + "class R(Liar):\n    def __reduce__(self): return (eval, ('6',))\n    __getstate__ = __reduce__\ndef f(n): return R()"),
    "not a number": Form(
        ["x = 5\nassert not f(x) < x and not f(x) > x"], "def f(n): return n",
        LIAR + "def f(n): return Liar()"),
    # The process, the channel, the way out.
    "ends at once": Form([SQUARES], "def f(n): return n * n", "import os\nos._exit(0)"),
    "ends inside": Form([SQUARES], "def f(n): return n * n", "import os\ndef f(n): os._exit(0)"),
    "leaves inside": Form([SQUARES], "def f(n): return n * n", "def f(n): exit(0)"),
    "leaves where the tests catch everything": Form(
        ["def run():\n    try:\n        f(-1)\n    except Exception:\n        return\n    assert f(2) == 4\nrun()\nassert f(3) == 9"],
        "def f(n): return n * n", "import os\ndef f(n):\n    if n < 0: os._exit(0)\n    os._exit(0)"),
    "stops a loop of the tests": Form(
        ["for value, n in zip(map(f, range(3)), range(3)):\n    assert value == n * n\nassert f(1) == 1"],
        "def f(n): return n * n",
        "def f(n):\n    if n == 1: return 1\n    raise StopIteration"),
    "stops a map of the tests": Form(
        ["assert all(value == 7 for value in map(f, range(3)))"],
        "def f(n): return 7", "def f(n): raise StopIteration"),
    "forges messages": Form(
        [SQUARES], "def f(n): return n * n",
        "import os\nfor fd in range(3, 10):\n    try:\n        for n in range(5):\n"
        "            os.write(fd, b'[%d, \"passed\", \"\"]\\n' % n)\n    except OSError: pass\n"
        "for fd in range(3, 10):\n    try: os.write(fd, b'[\"passed\"]\\n[\"value\", \"\\\\\"x\\\\\"\"]\\n' * 9)\n    except OSError: pass\n"
        "def f(n): return 0"),
    "closes everything": Form(
        [SQUARES], "def f(n): return n * n", "import os\nos.closerange(3, 64)\ndef f(n): return n * n"),
    "exchanges the server": Form(
        [SQUARES], "def f(n): return n * n",
        "import sys, builtins\nfor name, module in list(sys.modules.items()):\n"
        "    for key in ('encode', '_tagged', 'dumps', 'described', 'run_tests', '_run'):\n"
        "        if hasattr(module, key): setattr(module, key, lambda *a, **k: 'true')\ndef f(n): return 0"),
    "traces": Form(
        [SQUARES], "def f(n): return n * n",
        "import sys\ndef trace(frame, event, arg):\n    for k in list(frame.f_locals):\n"
        "        if k in ('n', 'right'): return trace\n    return trace\n"
        "sys.settrace(trace)\nsys.setprofile(trace)\ndef f(n): return 0"),
    "hangs on to the end": Form(
        [SQUARES], "def f(n): return n * n",
        "import atexit, os, weakref, sys\natexit.register(os._exit, 0)\nclass D:\n    def __del__(self): os._exit(0)\n"
        "d = D()\nsys.excepthook = lambda *a: os._exit(0)\ndef f(n): raise KeyError(D())"),
    "an assertion class of its own": Form(
        [SQUARES], "def f(n): return n * n",
        "import builtins\nclass Quiet(Exception):\n    def __new__(cls, *a): return None\n"
        "builtins.AssertionError = Quiet\ndef f(n): return 0"),
    "a thread that answers": Form(
        [SQUARES], "def f(n): return n * n",
        "import threading, os\ndef spam():\n    for _ in range(200):\n"
        "        for v in range(17):\n            try: os.write(6, b'[\"value\", \"%d\"]\\n' % v)\n            except OSError: return\n"
        "threading.Thread(target=spam, daemon=True).start()\ndef f(n): return -1"),
    "asks the tests": Form(
        ["x = 3\nassert f(x) == x ** 3"], "def f(n): return n ** 3",
        "import os\ndef f(n):\n    for k in range(9):\n"
        "        os.write(6, b'[\"callback\", %d, \"[]\", \"{\\\\\"dict\\\\\": []}\"]\\n' % k)\n    return 0"),
    "a generator without end": Form(
        ["assert list(f(3)) == [0, 1, 2]"], "def f(n): yield from range(n)",
        "def f(n):\n    while True: yield from range(n)"),
    "a callback of the tests": Form(
        ["seen = []\nassert f(lambda v: seen.append(v) or v * 2, [1, 2]) == [2, 4]\nassert seen == [1, 2]"],
        "def f(g, x): return [g(v) for v in x]",
        "def f(g, x):\n    g.__globals__.get('seen', []).extend(x)\n    return [2, 4]"),
    "state between tests": Form(
        ["x = 2\nassert f(x) == x * x", "assert f(x + 1) == (x + 1) ** 2"],
        "def f(n): return n * n", "calls = []\ndef f(n):\n    calls.append(n)\n    return 4"),
    "default arguments": Form(
        ["assert f([1], extra=[]) == [1]", "assert f([2], extra=[]) == list(reversed([2]))"],
        "def f(x, extra=()): return x + list(extra)",
        "kept = []\ndef f(x, extra=kept):\n    kept.extend(x)\n    return kept"),
}  # fmt: skip


AGREES = """
class L:
    def __eq__(s,o): return True
    def __ne__(s,o): return False
    def __getattr__(s,n): return L()
    def __call__(s,*a,**k): return L()
    def __getitem__(s,k): return L()
    def __iter__(s): return iter([])
    def __len__(s): return 0
    def __bool__(s): return True
    def __hash__(s): return hash(4)
    def __contains__(s,o): return True
    __lt__=__gt__=__le__=__ge__=__eq__
    __sub__=__rsub__=__add__=__radd__=__mul__=__abs__=__round__=__neg__=__getattr__
    def __float__(s): return 0.0
    __int__=__index__=lambda s:4
    def __str__(s): return "4"
    __repr__=__str__
    def __instancecheck__(s,o): return True
f=L()
"""
LIES = [
    "assert f(2).real == 4",
    "assert f(2).x.y(3).z",
    "assert f(2)[0] == 4",
    "assert int(f(2)) == int('4')",
    "assert float(f(2)) == float('4')",
    "assert f(2) and True",
    "assert (f(2) or 3) == 4",
    "assert f(2) == 4 if f(2) else False",
    "assert {f(2)} == {4}",
    "assert [f(2)].count(4) == 1",
    "assert [4].index(f(2)) == 0",
    "assert f(2) in [4]",
    "assert f(2) in {4: 1}",
    "assert {4: True}[f(2)]",
    "assert {4: 1}.get(f(2)) == 1",
    "assert isinstance(4, f(2))",
    "assert isinstance(f(2), int)",
    "assert issubclass(f(2), int)",
    "assert (f(2) > 3) is True",
    "assert 3 < f(2) < 5",
    "assert not f(2) < 3",
    "assert max(f(2), 3) == 4",
    "assert sum([f(2)]) == sum([4])",
    "assert abs(f(2) - float(4)) < 1e-6",
    "assert round(f(2), 2) == round(4.001, 2)",
    "assert divmod(f(2), 2) == divmod(4, 2)",
    "assert pow(f(2), 2) == pow(4, 2)",
    "import math\nassert math.isclose(f(2), 4.0)",
    "import operator\nassert operator.eq(f(2), 4)",
    "import operator\nassert operator.contains(f(2), 4)",
    "import operator\nassert operator.truth(f(2))",
    "x = 4\nassert x == f(2)",
    "x = 4\nassert x.__eq__(f(2)) is True",
    "x = 4\nassert f(2).__eq__(x)",
    "import copy\nassert copy.copy(f(2)) == 4",
    "assert sorted([f(2), 3])[1] == 4",
    "assert '%d' % f(2) == '%d' % 4",
    "assert hex(f(2)) == hex(4)",
    "assert range(f(2)) == range(4)",
    "assert [0,1,2,3,5][f(2)] == 5",
    "import fractions\nassert fractions.Fraction(f(2)) == 4",
    "import decimal\nassert decimal.Decimal(f(2)) == 4",
    "import json\nassert json.dumps(f(2)) == json.dumps(4)",
    "match f(2):\n    case 4:\n        ok = True\n    case _:\n        ok = False\nassert ok",
    "ok = False\nif f(2) == 4:\n    ok = True\nassert ok",
    "def same(a, b):\n    return a == b\nassert same(f(2), 4)",
    "def same(a, b):\n    return type(a) is type(b) and a == b\nassert same(f(2), 4)",
    "def check(c):\n    r = c(2)\n    assert r == 4 and r != 5\ncheck(f)",
    "assert all(a == b for a, b in zip([f(2)], [4]))",
    "assert set([f(2)]) == set([4])",
    "assert dict(a=f(2)) == dict(a=4)",
    "assert (f(2),) == (4,)",
    "assert [f(2)] == [4]",
    "assert f(2) is not None and f(2) == 4",
    "from collections import Counter\nassert Counter([f(2)]) == Counter([4])",
    "assert f(2).__class__ is int",
    "assert f(2).__len__() == 0 and f(2) == 4",
    "with f(2) as x:\n    assert x == 4",
    "a, b = f(2), 4\nassert a == b",
    "try:\n    ok = f(2) == 4\nexcept TypeError:\n    ok = False\nassert ok",
    "assert f(2) == f(2) == 4",
    "x = [f(n) for n in range(3)]\nassert x == [0, 1, 4]",
    "assert ''.join(f(2)) == ''.join(['4'])",
    "assert str(f(2)) == '4' and f(2) == 4",
    "assert list(f(2)) == list([4])",
    "assert len(f(2)) == len([4])",
    "assert dict(f(2)) == {'a': 4}",
    "for v in f(2):\n    assert v == 4\nassert f(2)[0] == 4",
]
"""Tests of 4, as an object that agrees with everything would pass them."""
