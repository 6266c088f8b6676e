"""Bindings and pinholes become elements whose fields are those of `rules/10-data.nft`."""

from __future__ import annotations

import re
from ipaddress import ip_address
from pathlib import Path

import pytest

from fwlb.model import (
    Binding,
    Bucket,
    Element,
    Endpoint,
    FieldValue,
    Flow,
    IPAddress,
    Pinhole,
    Protocol,
)
from fwlb.nat import bindings, pinholes

RULES = "".join(
    path.read_text() for path in sorted((Path(__file__).parents[3] / "rules").glob("*.nft"))
)

ADDRESSES: dict[int, dict[str, IPAddress]] = {
    4: {
        "inside": ip_address("10.1.0.2"),
        "public": ip_address("203.0.113.1"),
        "peer": ip_address("198.51.100.7"),
    },
    6: {
        "inside": ip_address("fd01::2"),
        "public": ip_address("2001:db8::1"),
        "peer": ip_address("2001:db8:7::7"),
    },
}


def declaration(name: str) -> tuple[list[str], list[str] | None]:
    """The fields of the key, as the rule that asks the set names them, and those of the data, as
    the statement of that rule takes them (as many as the type declares)."""
    declared = re.search(rf"(?:set|map) {name} \{{ type ([^;]+);", RULES)
    assert declared, f"{name} is not declared"
    asked = re.search(
        rf"(?:([ds]nat) (ip6?) to )?(meta l4proto( \. \w+ \w+)+)(?: map)? @{name}\b", RULES
    )
    assert asked, f"no rule asks {name}"
    key = asked[3].split(" . ")
    types, colon, data_types = declared[1].partition(" : ")
    assert len(types.split(" . ")) == len(key)
    if not colon:
        return key, None
    end = "d" if asked[1] == "dnat" else "s"
    fields = [f"{asked[2]} {end}addr", f"th {end}port"]
    return key, fields[: len(data_types.split(" . "))]


def as_declared(element: Element, meaning: dict[str, FieldValue]) -> None:
    """Every field of the element has the value that its declared expression stands for."""
    key, data = declaration(element.set_name)
    assert element.key == tuple(meaning[field] for field in key)
    if data is None:
        assert element.data is None
    else:
        assert element.data is not None
        new = {field: meaning[f"new {field}"] for field in data}
        assert element.data == tuple(new.values())


@pytest.mark.parametrize("family", [4, 6])
def test_a_binding_translates_both_ways(family: int) -> None:
    at = ADDRESSES[family]
    ip = "ip" if family == 4 else "ip6"
    binding = Binding(
        Protocol.TCP,
        inside=Endpoint(at["inside"], 40001),
        public=Endpoint(at["public"], 20480),
        bucket=Bucket(0, "gw1"),
        timeout_s=9,
    )
    way_in, way_out = bindings.elements(binding)

    assert way_in.set_name == f"binding_in{family}"
    as_declared(
        way_in,
        {
            "meta l4proto": 6,
            f"{ip} daddr": at["public"],
            "th dport": 20480,
            f"new {ip} daddr": at["inside"],
            "new th dport": 40001,
        },
    )
    assert way_out.set_name == f"binding_out{family}"
    as_declared(
        way_out,
        {
            "meta l4proto": 6,
            f"{ip} saddr": at["inside"],
            "th sport": 40001,
            f"new {ip} saddr": at["public"],
            "new th sport": 20480,
        },
    )
    assert way_in.timeout_s == way_out.timeout_s == 9


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("source_nat", [False, True])
def test_a_pinhole_names_the_flow_as_the_forward_hook_sees_it(
    family: int, source_nat: bool
) -> None:
    at = ADDRESSES[family]
    ip = "ip" if family == 4 else "ip6"
    flow = Flow(Protocol.TCP, at["peer"], Endpoint(at["inside"], 40001))
    elements = pinholes.elements(Pinhole(flow, 60, at["public"] if source_nat else None))

    names = [f"pinhole{family}", f"pinhole_snat{family}"]
    assert [element.set_name for element in elements] == names[: 1 + source_nat]
    for element in elements:
        as_declared(
            element,
            {
                "meta l4proto": 6,
                f"{ip} saddr": at["peer"],
                f"{ip} daddr": at["inside"],
                "th dport": 40001,
                f"new {ip} saddr": at["public"],
            },
        )
        assert element.timeout_s == 60


def test_the_protocol_of_a_key_is_a_plain_number() -> None:
    flow = Flow(Protocol.UDP, ADDRESSES[4]["peer"], Endpoint(ADDRESSES[4]["inside"], 5004))
    (element,) = pinholes.elements(Pinhole(flow, 60))
    assert type(element.key[0]) is int
    assert element.key[0] == 17


def test_families_are_never_mixed() -> None:
    inside, public = Endpoint(ADDRESSES[4]["inside"], 1), Endpoint(ADDRESSES[6]["public"], 1)
    with pytest.raises(ValueError, match="between families"):
        bindings.elements(Binding(Protocol.TCP, inside, public, Bucket(0, "a"), 60))
    with pytest.raises(ValueError, match="between families"):
        pinholes.elements(Pinhole(Flow(Protocol.TCP, ADDRESSES[6]["peer"], inside), 60))
    flow = Flow(Protocol.TCP, ADDRESSES[4]["peer"], inside)
    with pytest.raises(ValueError, match="between families"):
        pinholes.elements(Pinhole(flow, 60, source_nat=ADDRESSES[6]["public"]))
