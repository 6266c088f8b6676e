"""Records of labs: who owns which, and whether the owner lives."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from fwlb.lab import namespaces, owners
from fwlb.lab.owners import LabRecord, clean, leftovers, records


@pytest.fixture(autouse=True)
def own_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Records in a directory of this test, and no namespaces on this machine."""
    monkeypatch.setattr(owners, "RECORDS", tmp_path / "records")
    monkeypatch.setattr(namespaces, "RUN_DIRECTORY", tmp_path / "netns")
    return tmp_path / "records"


def test_nobody_has_a_lab_yet() -> None:
    assert records() == leftovers() == clean() == []


def test_a_lab_of_this_process_is_no_leftover(tmp_path: Path) -> None:
    record = LabRecord.make(tmp_path / "lab")
    assert records() == [record]
    assert record.pid == os.getpid()
    assert record.owner_lives
    assert clean() == []
    assert records() == [record]


@pytest.mark.parametrize(
    ("pid", "started"),
    [
        pytest.param(2**22 + 1, 1, id="no process"),  # above the kernel's PID_MAX_LIMIT
        pytest.param(os.getpid(), 1, id="another process with the same number"),
    ],
)
def test_a_lab_of_a_dead_process_is_cleaned(
    own_records: Path, tmp_path: Path, pid: int, started: int
) -> None:
    living = LabRecord.make(tmp_path / "living")
    directory = tmp_path / "dead"
    (directory / "files").mkdir(parents=True)
    content = {"pid": pid, "started": started, "directory": str(directory)}
    (own_records / "0123abcd.json").write_text(json.dumps(content))
    assert [record.id for record in clean()] == ["0123abcd"]
    assert not directory.exists()
    assert records() == [living]


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"pid": 1}', '{"pid": "x"}', "null"])
def test_a_damaged_record_is_left_alone(own_records: Path, damage: str) -> None:
    own_records.mkdir()
    (own_records / "0123abcd.json").write_text(damage)
    assert records() == clean() == []
    assert (own_records / "0123abcd.json").exists()


def test_namespaces_of_a_lab_are_those_with_its_id(tmp_path: Path) -> None:
    record = LabRecord.make(tmp_path / "lab")
    (tmp_path / "netns").mkdir()
    for name in (record.namespace("gw"), record.namespace("c1"), "fwlb-00000000-gw", "other"):
        (tmp_path / "netns" / name).touch()
    assert record.namespaces() == [record.namespace("c1"), record.namespace("gw")]


def test_ids_differ(tmp_path: Path) -> None:
    assert len({LabRecord.make(tmp_path).id for _ in range(20)}) == 20
