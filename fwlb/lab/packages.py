"""Programs out of Debian packages that cannot be installed together: unpacked, not installed.

They go to a cache directory (`FWLB_CACHE`, else ~/.cache/fwlb), and stay there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fwlb.errors import LabError

_TIMEOUT_S = 120.0
_TAIL_BYTES = 1000


@dataclass(frozen=True, slots=True)
class Unpacked:
    """A tree of unpacked packages."""

    root: Path

    def program(self, name: str) -> Path:
        """Path of a program in it; LabError when there is none of that name."""
        for directory in ("usr/sbin", "usr/bin", "sbin", "bin"):
            path = self.root / directory / name
            if path.exists():
                return path
        raise LabError(f"no program {name} in {self.root}", hint=f"remove {self.root} and retry")

    @property
    def environment(self) -> dict[str, str]:
        """What its programs need to find their libraries."""
        return {"LD_LIBRARY_PATH": ":".join(map(str, sorted(self.root.glob("usr/lib/*-linux-*"))))}


def fetch(packages: Sequence[str]) -> Unpacked:
    """Unpack `packages`, and what they need and is not installed here. Does nothing when it was
    done before.

    LabError, with what to do, when there is no apt or it cannot download.
    """
    cache = Path(os.environ.get("FWLB_CACHE") or Path.home() / ".cache/fwlb")
    root = cache / "+".join(sorted(packages))
    if root.is_dir():
        return Unpacked(root)
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as scratch:
            tree = _unpack(packages, Path(scratch))
            tree.chmod(0o755)
            # in one step: a tree that is there is complete
            if not root.exists():
                tree.rename(root)
    except OSError as error:
        raise LabError(
            f"cannot use the cache directory {cache}: {error}",
            hint="name another one in the environment variable FWLB_CACHE",
        ) from error
    return Unpacked(root)


def _unpack(packages: Sequence[str], scratch: Path) -> Path:
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        raise LabError(
            f"cannot fetch {', '.join(packages)}: this is no Debian",
            hint="leave out the tests of these programs",
        )
    # what an installation would bring in; apt changes nothing when it only simulates
    plan = _run(
        ["apt-get", "install", "--simulate", "--no-install-recommends", "-y", *packages], scratch
    )
    lines = [line.split() for line in plan.splitlines()]
    names = sorted({*packages, *(words[1] for words in lines if words[:1] == ["Inst"])})
    _run(["apt-get", "download", "-qq", *names], scratch)
    tree = scratch / "tree"
    for archive in sorted(scratch.glob("*.deb")):
        _run(["dpkg", "--extract", str(archive), str(tree)], scratch)
    return tree


def _run(args: Sequence[str], cwd: Path) -> str:
    command = " ".join(args)
    try:
        done = subprocess.run(
            args, cwd=cwd, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise LabError(f"{command}: no end after {_TIMEOUT_S:g} s") from None
    if done.returncode != 0:
        raise LabError(
            f"{command}\nended with status {done.returncode}: {done.stderr[-_TAIL_BYTES:].strip()}",
            hint="try `apt-get update`; without a network, fill the cache on another machine",
        )
    return done.stdout
