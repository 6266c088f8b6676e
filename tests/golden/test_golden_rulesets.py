"""The ruleset of every example configuration, as `fwlb render` prints it.

A change here is a change of what operators get: read the difference, then write the files anew with
`FWLB_WRITE_GOLDEN=1 pytest tests/golden`.
"""

import os
from pathlib import Path

import pytest

from fwlb.config.load import load
from fwlb.ruleset.source import source

HERE = Path(__file__).parent
EXAMPLES = sorted((HERE.parent.parent / "docs" / "examples").glob("*.toml"))


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 5


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_the_ruleset_is_the_golden_one(example: Path, tmp_path: Path) -> None:
    config = load(example)
    paths = config.paths.model_copy(update={"rules": tmp_path})  # no rules of this machine
    text = source(config.model_copy(update={"paths": paths})).text
    golden = HERE / f"{example.stem}.nft"
    if os.environ.get("FWLB_WRITE_GOLDEN"):
        golden.write_text(text)
    assert text == golden.read_text()
