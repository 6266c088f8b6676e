"""What nft prints of a table is split into objects; the rules themselves stay text."""

import pytest

from fwlb.errors import RulesetError
from fwlb.ruleset.listing import Name, parse

LISTING = """table inet fwlb {
\tcomment "made by fwlb"
\tcounter spoofed {
\t}

\tset relay_alive {
\t\ttype inet_service
\t\tsize 256
\t\tflags timeout
\t}

\tset masquerade4 {
\t\ttype ipv4_addr . ifname
\t\tflags interval
\t}

\tct helper ftpk {
\t\ttype "ftp" protocol tcp
\t\tl3proto ip
\t}

\tchain forward {
\t\ttype filter hook forward priority filter; policy drop;
\t\tct state established,related accept
\t\ticmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
\t}

\tchain refuse {
\t\treject with icmpx admin-prohibited
\t}
}
"""


def test_objects_keep_the_order_of_the_listing() -> None:
    table = parse(LISTING)
    assert (table.name, table.comment) == ("inet fwlb", "made by fwlb")
    assert [str(name) for name in table.blocks] == [
        "counter spoofed",
        "set relay_alive",
        "set masquerade4",
        "ct helper ftpk",
        "chain forward",
        "chain refuse",
    ]


def test_a_block_prints_as_nft_takes_it() -> None:
    table = parse(LISTING)
    body = "".join(block.as_nft() for block in table.blocks.values())
    again = f'table inet fwlb {{\n\tcomment "made by fwlb"\n{body}}}\n'
    assert parse(again) == table


def test_flags_say_who_writes_a_set() -> None:
    blocks = parse(LISTING).blocks
    assert blocks[Name("set", "relay_alive")].is_run_time
    assert not blocks[Name("set", "masquerade4")].is_run_time
    assert blocks[Name("set", "masquerade4")].is_interval
    assert not blocks[Name("set", "relay_alive")].is_interval


def test_the_head_of_a_base_chain_leaves_out_the_policy() -> None:
    blocks = parse(LISTING).blocks
    assert blocks[Name("chain", "forward")].head == "type filter hook forward priority filter"
    assert blocks[Name("chain", "refuse")].head == ""


@pytest.mark.parametrize("text", ["", "nonsense", "table inet fwlb {", "table x {\nchain y {\n}"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(RulesetError):
        parse(text)
