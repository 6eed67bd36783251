"""Rows in the shape in which HumanEval and MBPP are published, written for these tests."""

from typing import Any


def humaneval(number: int, prompt: str, entry: str, solution: str, test: str) -> dict[str, Any]:
    """A row of HumanEval's columns."""
    return {
        "task_id": f"HumanEval/{number}",
        "prompt": prompt,
        "entry_point": entry,
        "canonical_solution": solution,
        "test": test,
    }


METADATA = "\n\nMETADATA = {\n    'author': 'jt',\n    'dataset': 'test'\n}\n\n\n"

HUMANEVAL = [
    humaneval(
        0,
        "from typing import List\n\n\ndef any_close(numbers: List[float], threshold: float) -> bool:\n"
        '    """ Are two of the numbers closer than the threshold?\n    >>> any_close([1.0, 2.0], 0.5)\n    False\n    """\n',
        "any_close",
        "    for i, a in enumerate(numbers):\n        for j, b in enumerate(numbers):\n"
        "            if i != j and abs(a - b) < threshold:\n                return True\n\n    return False\n",
        METADATA + "def check(candidate):\n    assert candidate([1.0, 2.0, 3.9, 4.0, 5.0], 0.3) == True\n"
        "    assert candidate([1.0, 2.0, 5.9, 4.0, 5.0], 0.05) == False\n\n"),
    humaneval(
        1,
        '\n\ndef truncate(number: float) -> float:\n    """ The decimal part of a positive number.\n    >>> truncate(3.5)\n    0.5\n    """\n',
        "truncate",
        "    return number % 1.0\n",
        METADATA + "def check(candidate):\n    assert candidate(3.5) == 0.5\n"
        "    assert abs(candidate(1.33) - 0.33) < 1e-6\n    assert abs(candidate(123.456) - 0.456) < 1e-6\n"),
    humaneval(
        2,
        "import math\n\n\ndef poly(xs: list, x: float):\n    \"\"\"\n    The value of a polynomial at x.\n    \"\"\"\n"
        "    return sum([coeff * math.pow(x, i) for i, coeff in enumerate(xs)])\n\n\ndef find_zero(xs: list):\n"
        '    """ A zero of a polynomial of odd degree.\n    >>> round(find_zero([1, 2]), 2) # f(x) = 1 + 2x\n    -0.5\n    """\n',
        "find_zero",
        "    begin, end = -1., 1.\n    while poly(xs, begin) * poly(xs, end) > 0:\n        begin *= 2.0\n        end *= 2.0\n"
        "    while end - begin > 1e-10:\n        center = (begin + end) / 2.0\n"
        "        if poly(xs, center) * poly(xs, begin) > 0:\n            begin = center\n        else:\n            end = center\n"
        "    return begin\n",
        METADATA + "def check(candidate):\n    import math\n    import random\n    rng = random.Random(42)\n    import copy\n"
        "    for _ in range(20):\n        ncoeff = 2 * rng.randint(1, 2)\n        coeffs = []\n        for _ in range(ncoeff):\n"
        "            coeff = rng.randint(-10, 10)\n            if coeff == 0:\n                coeff = 1\n            coeffs.append(coeff)\n"
        "        solution = candidate(copy.deepcopy(coeffs))\n        assert math.fabs(poly(coeffs, solution)) < 1e-4\n\n"),
    humaneval(
        3,
        "\n\ndef encode_cyclic(s: str):\n    \"\"\"\n    cycles groups of three characters.\n    \"\"\"\n"
        "    groups = [s[(3 * i):min((3 * i + 3), len(s))] for i in range((len(s) + 2) // 3)]\n"
        '    groups = [(group[1:] + group[0]) if len(group) == 3 else group for group in groups]\n    return "".join(groups)\n\n\n'
        'def decode_cyclic(s: str):\n    """\n    takes as input a string encoded with encode_cyclic.\n    """\n',
        "decode_cyclic",
        "    return encode_cyclic(encode_cyclic(s))\n",
        METADATA + "def check(candidate):\n    from random import randint, choice\n    import string\n\n"
        "    letters = string.ascii_lowercase\n    for _ in range(50):\n"
        "        str = ''.join(choice(letters) for i in range(randint(10, 20)))\n        encoded_str = encode_cyclic(str)\n"
        "        assert candidate(encoded_str) == str\n\n"),
    humaneval(
        4,
        '\n\ndef sort_third(l: list):\n    """Sort every third element.\n    >>> sort_third([1, 2, 3])\n    [1, 2, 3]\n    """\n',
        "sort_third",
        "    l = list(l)\n    l[::3] = sorted(l[::3])\n    return l\n",
        METADATA + "def check(candidate):\n    assert tuple(candidate([1, 2, 3])) == tuple(sort_third([1, 2, 3]))\n"
        "    assert tuple(candidate([5, 6, 3, 4, 8, 9, 2])) == tuple([2, 6, 3, 4, 8, 9, 5])\n"),
    humaneval(
        5,
        '\ndef words_string(s):\n    """\n    Split a string into its words.\n\n    For example:\n'
        '    words_string("Hi, my name is John") == ["Hi", "my", "name", "is", "John"]\n    """\n',
        "words_string",
        "    return s.replace(',', ' ').split()\n",
        "def check(candidate):\n\n    # Check some simple cases\n"
        '    assert True, "This prints if this assert fails 1 (good for debugging!)"\n'
        '    assert candidate("Hi, my name is John") == ["Hi", "my", "name", "is", "John"]\n\n'
        '    # Check some edge cases that are easy to work out by hand.\n'
        '    assert True, "This prints if this assert fails 2 (also good for debugging!)"\n    assert candidate("") == []\n\n'),
    humaneval(
        6,
        '\ndef rounded_avg(n, m):\n    """The average of n to m as binary, -1 where n > m.\n    rounded_avg(1, 5) => "0b11"\n    """\n',
        "rounded_avg",
        "    if m < n:\n        return -1\n    return bin(round((m + n) / 2))\n",
        'def check(candidate):\n\n    # Check some simple cases\n    assert candidate(1, 5) == "0b11"\n'
        '    assert candidate(7, 5) == -1, "the other way round"\n    assert candidate(964,977) == "0b1111001010"\n'),
    humaneval(
        7,
        'import math\nfrom typing import List, Tuple\n\ndef polar(x: float, y: float) -> Tuple[float, float]:\n    """ Radius and angle. """\n',
        "polar",
        "    return math.hypot(x, y), math.atan2(y, x)\n",
        "import math\n\ndef check(candidate):\n    r, phi = candidate(1.0, 1.0)\n    assert math.isclose(r, math.sqrt(2))\n"
        "    assert math.isclose(phi, math.pi / 4, rel_tol=1e-9)\n"),
    humaneval(
        8,
        'def divide(a, b):\n    """ a / b; raises ValueError where b is 0. """\n',
        "divide",
        "    if b == 0:\n        raise ValueError('b is 0')\n    return a / b\n",
        "def check(candidate):\n    assert candidate(1, 4) == 0.25\n    try:\n        candidate(1, 0)\n        assert False, 'no error'\n"
        "    except ValueError as error:\n        assert 'b' in str(error)\n"),
    humaneval(
        9,
        'from collections import Counter\n\ndef letters(s: str) -> Counter:\n    """ How often each letter comes. """\n',
        "letters",
        "    return Counter(s)\n",
        "def check(candidate):\n    assert candidate('aab') == {'a': 2, 'b': 1}\n    assert candidate('aab').most_common(1) == [('a', 2)]\n"),
    humaneval(
        10,
        'def count_up(n: int):\n    """ Yields 0 to n - 1. """\n',
        "count_up",
        "    yield from range(n)\n",
        "def check(candidate):\n    assert list(candidate(3)) == [0, 1, 2]\n    assert sum(candidate(5)) == 10\n"
        "    for want, have in zip(range(4), candidate(4)):\n        assert want == have\n"),
    humaneval(
        11,
        'def apply(f, xs):\n    """ f of each of xs.\n    >>> apply(abs, [-1])\n    [1]\n    """\n',
        "apply",
        "    return [f(x) for x in xs]\n",
        "def check(candidate):\n    def double(x):\n        return 2 * x\n    assert candidate(double, [1, 2]) == [2, 4]\n"
        "    assert candidate(abs, [-1]) == [1]\n    assert candidate(lambda x: x * x, list(range(4))) == [0, 1, 4, 9]\n"),
    humaneval(
        12,
        '\ndef string_to_md5(text):\n    """ The md5 hash of a text, None of an empty one. """\n',
        "string_to_md5",
        "    import hashlib\n    return hashlib.md5(text.encode('ascii')).hexdigest() if text else None\n",
        "def check(candidate):\n    assert candidate('Hello world') == '3e25960a79dbc69b674cd4ec67a72c62'\n"
        "    assert candidate('') == None\n    assert candidate('') is None\n"),
]  # fmt: skip
"""Rows of HumanEval's kind."""


def mbpp_full(
    number: int, text: str, code: str, tests: list[str], **options: Any
) -> dict[str, Any]:
    """A row of the full set's columns."""
    return {
        "task_id": number,
        "text": text,
        "code": code.replace("\n", "\r\n"),
        "test_list": tests,
        "test_setup_code": "",
        "challenge_test_list": [],
        **options,
    }


def mbpp_sanitized(
    number: int, text: str, code: str, tests: list[str], imports: list[str]
) -> dict[str, Any]:
    """A row of the sanitized set's columns."""
    return {
        "source_file": "Benchmark Questions Verification V2.ipynb",
        "task_id": number,
        "prompt": text,
        "code": code,
        "test_imports": imports,
        "test_list": tests,
    }


MBPP_FULL = [
    mbpp_full(
        1, "Write a function to find the shared elements from the given two lists.",
        "def similar_elements(a, b):\n  return tuple(set(a) & set(b))\n",
        ["assert similar_elements((3, 4, 5, 6),(5, 7, 4, 10)) == (4, 5)"],
        challenge_test_list=["assert similar_elements((1, 2), (2, 3)) == (2,)"]),
    mbpp_full(
        2, "Write a python function to find the sum of common divisors of two given numbers.",
        "def sum(a,b):\n    sum = 0\n    for i in range (1,min(a,b)+1):\n        if a % i == 0 and b % i == 0:\n            sum += i\n    return sum\n",
        ["assert sum(10,15) == 6", "assert sum(100,150) == 93", "assert sum(4,6) == 3"]),
    mbpp_full(
        3, "Write a function to find the longest chain which can be formed from the given set of pairs.",
        "class Pair(object):\n    def __init__(self, a, b):\n        self.a = a\n        self.b = b\ndef max_chain_length(arr, n):\n"
        "    best = [1] * n\n    for i in range(1, n):\n        for j in range(i):\n            if arr[i].a > arr[j].b:\n"
        "                best[i] = max(best[i], best[j] + 1)\n    return max(best)\n",
        ["assert max_chain_length([Pair(5, 24), Pair(15, 25),Pair(27, 40), Pair(50, 60)], 4) == 3"]),
    mbpp_full(
        4, "Write a function to find the height of the given binary tree.",
        "class Node:\n    def __init__(self, data):\n        self.data, self.left, self.right = data, None, None\n"
        "def max_height(node):\n    return 1 + max(max_height(node.left), max_height(node.right)) if node else 0\n",
        ["assert (max_height(root)) == 3", "assert (max_height(root1)) == 2"],
        test_setup_code="root = Node(1) \r\nroot.left = Node(2) \r\nroot.left.left = Node(4) \r\nroot1 = Node(1)\r\nroot1.right = Node(3)"),
    mbpp_full(
        5, "Write a function to count the frequencies of elements.",
        "import collections\ndef freq_count(list1):\n  return collections.Counter(list1)\n",
        ["assert freq_count([10,10,20]) == ({10: 2, 20: 1})"]),
    mbpp_full(
        6, "Write a function to find the angle of a complex number.",
        "import cmath\ndef angle_complex(a,b):\n  return cmath.phase(complex(a) + b)\n",
        ["assert angle_complex(0,1j)==1.5707963267948966 ", "assert angle_complex(2,1j)==0.4636476090008061"]),
]  # fmt: skip
MBPP_SANITIZED = [
    mbpp_sanitized(
        11, "Write a function to check whether a text starts with a vowel.",
        "import re\ndef starts(s):\n    return re.match('[aeiou]', s)\n",
        ["assert starts('annie')", "assert not starts('dawood')"], []),
    mbpp_sanitized(
        10, "Write a function to find the digits of a text.",
        "import re\ndef digits(s):\n    return re.findall('\\d', s)\n",
        ["import re\nassert digits('a1') == re.findall('\\d', 'a1')"], []),
    mbpp_sanitized(
        7, "Write a function to find the volume of a cone.",
        "import math\ndef volume_cone(r,h):\n  return (1.0/3) * math.pi * r * r * h\n",
        ["assert math.isclose(volume_cone(5,12), 314.15926535897927, rel_tol=0.001)",
         "assert math.isclose(volume_cone(10,15), 1570.7963267948965, rel_tol=0.001)"], ["import math"]),
    mbpp_sanitized(
        8, "Write a function to find the shared elements of two lists.",
        "def similar_elements(a, b):\n  return tuple(set(a) & set(b))\n",
        ["assert set(similar_elements((3, 4, 5, 6),(5, 7, 4, 10))) == set((4, 5))"], []),
    mbpp_sanitized(
        9, "Write a python function to identify non-prime numbers.",
        "import math\ndef is_not_prime(n):\n    return any(n % i == 0 for i in range(2, int(math.sqrt(n)) + 1))\n",
        ["assert is_not_prime(2) == False", "assert is_not_prime(10) == True"], []),
]  # fmt: skip
