"""What libnftables says, and what it becomes. No root: nothing is loaded."""

import sys
from types import ModuleType

import pytest

from fwlb.errors import MissingFeatureError, PrivilegeError, RulesetError
from fwlb.kernel import nft_child
from fwlb.kernel.nft import Snapshot
from fwlb.kernel.nft_child import Nft, refusal

PLACE = "/proc/self/fd/5"


def test_a_refusal_knows_its_line() -> None:
    error = refusal(
        f"{PLACE}:3:17-17: Error: No such file or directory\nadd rule inet x y accept\n   ^\n",
        PLACE,
    )
    assert isinstance(error, RulesetError)
    assert (error.message, error.where.line) == ("No such file or directory", 3)


def test_the_first_of_several_counts() -> None:
    error = refusal(
        f"{PLACE}:3:5-5: Error: syntax error\n{PLACE}:4:5-5: Error: syntax error\n", PLACE
    )
    assert (error.message, error.where.line) == ("syntax error (and 1 more)", 3)


def test_an_included_file_is_named_and_the_line_is_ours() -> None:
    said = (
        f"In file included from /etc/a.nft:7:1-20:\n                 from {PLACE}:12:1-26:\n"
        "/etc/b.nft:2:2-4: Error: syntax error, unexpected string\n"
    )
    error = refusal(said, PLACE)
    assert error.where.line == 12
    assert error.message == "/etc/b.nft:2: syntax error, unexpected string"


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("internal:0:0-0: Error: Could not open file\n", "Could not open file"),
        ("Error: Out of memory\n", "Out of memory"),
        ("netlink: Error: cache initialization failed\n", "netlink: Error: cache"),
        ("", "nft gave no reason"),
    ],
)
def test_some_refusals_have_no_line(said: str, message: str) -> None:
    error = refusal(said, PLACE)
    assert message in error.message
    assert error.where.line is None


def test_not_root() -> None:
    said = "/proc/self/fd/5:1:1-2: Error: Could not process rule: Operation not permitted"
    assert isinstance(refusal(said, PLACE), PrivilegeError)


def test_a_missing_module_is_said_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nftables", None)
    with pytest.raises(MissingFeatureError, match="pip install pip-nftables"):
        Nft()


def test_a_missing_library_is_said_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise OSError("libnftables.so.1: cannot open shared object file")

    module = ModuleType("nftables")
    module.Nftables = missing  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "nftables", module)
    with pytest.raises(MissingFeatureError, match="apt install libnftables1"):
        Nft()


def test_one_table_is_cut_out_of_a_listing() -> None:
    ours = "table inet fwlb {\n\tset b {\n\t}\n}\n"
    listing = f"table ip nat {{\n\tchain a {{\n\t}}\n}}\n{ours}table inet fwlb2 {{\n}}\n"
    assert nft_child._extract(listing, "inet", "fwlb") == ours


def test_a_snapshot_survives_json() -> None:
    snapshot = Snapshot(
        "table inet fwlb {\n}\n", {"a": ("1", "2")}, {"b": "00"}, {"b": "x"}, [("inet", "fwlb")]
    )
    assert Snapshot.from_json(snapshot.as_json()) == snapshot
