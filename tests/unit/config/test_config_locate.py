"""The line of every key and value of a TOML text, in each way of writing them."""

from __future__ import annotations

import pytest

from fwlb.config.locate import KeyPath, locate

TEXT = '''\
# a comment with [brackets] and "quotes
top = 1
a.b . c = 2
"quoted \\u00e4.x" = 3
'literal "key"' = 4
[zones.inside]   # implied: zones
networks = [ # a comment, with a comma
  "10.1.0.0/16", # another ]

  "fd01::/64",
  { x = 1, y.z = [
    1, [2,
      3]] },
]
long = """
not = a key
[not.a.table]
\\""" still"""""
empty = [ ]
after = \'\'\'
x = 1\'\'\'\'\'
when = 1979-05-27 07:32:00Z # a date with a blank
nothing = {}
[[allow]]
from = 'a'
[[ allow ]]
from = "#b"
  [allow.sub]
  k = true
[[allow.deep]]
k = -0.5e+3
[[allow.deep]]
[zones]
x = "\\""
'''  # fmt: skip


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("top",), 2),
        (("a",), 3),
        (("a", "b", "c"), 3),
        (("quoted ä.x",), 4),
        (('literal "key"',), 5),
        (("zones", "inside"), 6),
        (("zones", "inside", "networks"), 7),
        (("zones", "inside", "networks", 0), 8),
        (("zones", "inside", "networks", 1), 10),
        (("zones", "inside", "networks", 2, "x"), 11),
        (("zones", "inside", "networks", 2, "y", "z"), 11),
        (("zones", "inside", "networks", 2, "y", "z", 0), 12),
        (("zones", "inside", "networks", 2, "y", "z", 1, 0), 12),
        (("zones", "inside", "networks", 2, "y", "z", 1, 1), 13),
        (("zones", "inside", "long"), 15),
        (("zones", "inside", "empty"), 19),
        (("zones", "inside", "after"), 20),
        (("zones", "inside", "when"), 22),
        (("zones", "inside", "nothing"), 23),
        (("allow",), 24),
        (("allow", 0), 24),
        (("allow", 0, "from"), 25),
        (("allow", 1), 26),
        (("allow", 1, "from"), 27),
        (("allow", 1, "sub", "k"), 29),
        (("allow", 1, "deep", 0, "k"), 31),
        (("allow", 1, "deep", 1), 32),
        (("zones",), 33),  # its own header, not the one that implied it
        (("zones", "x"), 34),
    ],
)
def test_the_line_of_a_path(path: KeyPath, line: int) -> None:
    assert locate(TEXT).line(path) == line


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ((), 1),
        (("absent",), 1),
        (("zones", "inside", "interfaces"), 6),
        (("allow", 1, "to"), 26),
        (("allow", 7, "to"), 24),
        (("top", "below", "a value"), 2),
    ],
)
def test_an_absent_path_has_the_line_of_what_is_around_it(path: KeyPath, line: int) -> None:
    assert locate(TEXT).line(path) == line


def test_every_path_is_listed_once() -> None:
    paths = [path for path, _ in locate("[a]\nb = [1, {c = 2}]\n[[d]]\n[[d]]\n")]
    assert paths == [
        ("a",),
        ("a", "b"),
        ("a", "b", 0),
        ("a", "b", 1),
        ("a", "b", 1, "c"),
        ("d",),
        ("d", 0),
        ("d", 1),
    ]


def test_what_is_no_toml_is_no_endless_loop() -> None:
    with pytest.raises(ValueError, match="no TOML at line 2"):
        locate("a = 1\n!")
