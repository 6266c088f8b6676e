"""Unpacking Debian packages beside the system, with stand-ins for apt-get and dpkg."""

from __future__ import annotations

from pathlib import Path

import pytest

from fwlb.errors import LabError
from fwlb.lab.packages import fetch

APT = """#!/bin/sh
echo "$@" >> "{calls}"
case "$2$1" in
*simulate*) printf 'Remv other [1]\\nInst libneeded1 (1 Debian)\\nInst thing (1 Debian)\\n' ;;
*download) shift 2; for name; do : > "$name"_1_all.deb; done ;;
esac
"""
DPKG = """#!/bin/sh
mkdir -p "$3/usr/sbin" "$3/usr/lib/x86_64-linux-gnu"
: > "$3/usr/sbin/$(basename "$2" _1_all.deb)"
"""
FAILING_APT = "#!/bin/sh\necho 'E: no network' >&2\nexit 100\n"


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that holds apt-get and dpkg, in front of all others."""
    directory = tmp_path / "tools"
    directory.mkdir()
    write(directory / "apt-get", APT.format(calls=tmp_path / "calls"))
    write(directory / "dpkg", DPKG)
    monkeypatch.setenv("PATH", f"{directory}:/usr/bin:/bin")
    monkeypatch.setenv("FWLB_CACHE", str(tmp_path / "cache"))
    return directory


def write(path: Path, script: str) -> None:
    path.write_text(script)
    path.chmod(0o755)


@pytest.mark.usefixtures("tools")
def test_packages_are_unpacked_with_what_they_need_once(tmp_path: Path) -> None:
    unpacked = fetch(["thing"])
    assert unpacked.program("thing") == tmp_path / "cache/thing/usr/sbin/thing"
    assert unpacked.program("libneeded1").exists()
    library_path = unpacked.environment["LD_LIBRARY_PATH"]
    assert library_path == str(tmp_path / "cache/thing/usr/lib/x86_64-linux-gnu")
    calls = (tmp_path / "calls").read_text()
    assert "download -qq libneeded1 thing" in calls
    assert fetch(["thing"]) == unpacked
    assert (tmp_path / "calls").read_text() == calls
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["thing"]


@pytest.mark.usefixtures("tools")
def test_a_program_that_is_not_in_the_package() -> None:
    with pytest.raises(LabError, match="no program other in"):
        fetch(["thing"]).program("other")


def test_apt_says_why_it_cannot_and_nothing_half_done_stays(tools: Path, tmp_path: Path) -> None:
    write(tools / "apt-get", FAILING_APT)
    with pytest.raises(LabError, match=r"(?s)status 100: E: no network.*apt-get update"):
        fetch(["thing"])
    assert list((tmp_path / "cache").iterdir()) == []


def test_other_distributions_are_told(
    tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tools / "apt-get").unlink()
    monkeypatch.setenv("PATH", str(tools))
    with pytest.raises(LabError, match="cannot fetch thing: this is no Debian"):
        fetch(["thing"])


@pytest.mark.usefixtures("tools")
def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("FWLB_CACHE", str(tmp_path / "file"))
    with pytest.raises(LabError, match="FWLB_CACHE"):
        fetch(["thing"])
