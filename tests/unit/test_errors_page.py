"""docs/errors.md lists every error with its exit status, and every refusal."""

import re
from pathlib import Path

from fwlb import errors
from fwlb.model import Refusal

PAGE = (Path(__file__).parents[2] / "docs" / "errors.md").read_text()
CLASSES = [
    value
    for value in vars(errors).values()
    if isinstance(value, type) and issubclass(value, errors.FwlbError)
]


def test_every_error_is_on_the_page() -> None:
    rows = re.findall(r"^\| `([\w-]+)` \| (\d+) \|", PAGE, re.MULTILINE)
    listed = {code: int(status) for code, status in rows}
    assert listed == {e.code: e.exit_status for e in CLASSES if e is not errors.FwlbError}


def test_every_error_is_in_the_tree_of_the_docstring() -> None:
    tree = re.findall(r"(\w+Error) +([\w-]+) +(\d+)", errors.__doc__ or "")
    assert {(name, code, int(status)) for name, code, status in tree} == {
        (e.__name__, e.code, e.exit_status) for e in CLASSES if e is not errors.FwlbError
    }


def test_every_refusal_is_on_the_page() -> None:
    listed = re.findall(r"^\| `([\w-]+)` \| (?!\d+ \|)", PAGE, re.MULTILINE)
    assert sorted(listed) == sorted(reason.value for reason in Refusal)


def test_an_error_says_what_where_and_what_to_do() -> None:
    where = errors.Where("fwlb.toml", 7, "zones.inside")
    error = errors.RulesetError("it is wrong", where=where, hint="mend it")
    assert str(error) == "fwlb.toml:7: zones.inside: it is wrong\n    mend it"
    assert error.as_json() == {
        "error": "ruleset",
        "exit_status": 5,
        "file": "fwlb.toml",
        "line": 7,
        "key": "zones.inside",
        "message": "it is wrong",
        "hint": "mend it",
    }
