"""For every type that the codec knows: bytes to values and back, in any concatenation."""

from ipaddress import IPv4Address, IPv6Address

from hypothesis import given
from hypothesis import strategies as st

from fwlb.kernel.netlink import attribute, attributes, nested
from fwlb.kernel.types import FIELD_TYPES, FieldType, Layout, layout_of
from fwlb.model import FieldValue

_NAMES = st.text("abcdefghijklmnopqrstuvwxyz0123456789.-_", min_size=1, max_size=15)


def values_of(field: FieldType) -> st.SearchStrategy[FieldValue]:
    if field.name == "ipv4_addr":
        return st.ip_addresses(v=4)
    if field.name == "ipv6_addr":
        return st.ip_addresses(v=6)
    if field.name == "ether_addr":
        return st.binary(min_size=6, max_size=6)
    if field.name == "ifname":
        return _NAMES
    return st.integers(0, (1 << 8 * field.size_bytes) - 1)


@st.composite
def keys(draw: st.DrawFn) -> tuple[int, Layout, tuple[FieldValue, ...]]:
    """A type number, its layout, and values for it."""
    numbers = draw(st.lists(st.sampled_from(sorted(FIELD_TYPES)), min_size=1, max_size=5))
    fields = [FIELD_TYPES[number] for number in numbers]
    type_number = 0
    for number in numbers:
        type_number = type_number << 6 | number
    values = tuple(draw(values_of(field)) for field in fields)
    return type_number, Layout(fields, big_endian=draw(st.booleans())), values


@given(keys())
def test_values_survive_packing(case: tuple[int, Layout, tuple[FieldValue, ...]]) -> None:
    _, layout, values = case
    raw = layout.pack(values)
    assert len(raw) == (layout.size_bytes + 3) // 4 * 4
    assert layout.unpack(raw) == values


@given(keys())
def test_text_has_one_part_a_field(case: tuple[int, Layout, tuple[FieldValue, ...]]) -> None:
    _, layout, values = case
    text = layout.text(layout.pack(values))
    assert len(text.split(" . ")) == len(values)
    assert layout.range_text(layout.pack(values), layout.pack(values)) == text


@given(keys())
def test_a_layout_is_found_by_number_and_length(
    case: tuple[int, Layout, tuple[FieldValue, ...]],
) -> None:
    type_number, layout, _ = case
    found = layout_of(type_number, layout.size_bytes)
    assert str(found) == str(layout)
    assert layout_of(type_number, layout.size_bytes + 4) is None


@given(st.ip_addresses(v=4), st.integers(0, 32))
def test_an_ipv4_network_is_shown_as_one(address: IPv4Address, length: int) -> None:
    mask = (1 << 32 - length) - 1
    first, last = int(address) & ~mask, int(address) | mask
    text = Layout([FIELD_TYPES[7]]).range_text(first.to_bytes(4, "big"), last.to_bytes(4, "big"))
    network = f"{IPv4Address(first)}/{length}"
    assert text == (network if length < 32 else str(address))


@given(st.ip_addresses(v=6), st.ip_addresses(v=6))
def test_a_range_of_addresses_names_both_ends(one: IPv6Address, other: IPv6Address) -> None:
    low, high = sorted((one, other))
    text = Layout([FIELD_TYPES[8]]).range_text(low.packed, high.packed)
    if "-" in text:
        assert [IPv6Address(end) for end in text.split("-")] == [low, high]
    else:
        assert IPv6Address(text.split("/")[0]) == low


@given(st.lists(st.tuples(st.integers(1, 0x3FFF), st.binary(max_size=100)), max_size=20))
def test_attributes_survive(pairs: list[tuple[int, bytes]]) -> None:
    packed = b"".join(attribute(kind, payload) for kind, payload in pairs)
    assert list(attributes(packed)) == pairs
    [(kind, inside)] = attributes(nested(7, packed))
    assert (kind, list(attributes(inside))) == (7, pairs)


@given(st.binary(max_size=300))
def test_any_bytes_can_be_read_as_attributes(payload: bytes) -> None:
    found = list(attributes(payload))
    assert sum(len(value) for _, value in found) <= len(payload)
