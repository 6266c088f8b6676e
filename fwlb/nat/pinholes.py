"""A pinhole as the elements that let its flow through (`rules/10-data.nft`)."""

from __future__ import annotations

from fwlb.model import Element, Pinhole


def elements(pinhole: Pinhole) -> tuple[Element, ...]:
    """One set element, and one map element more where the flow gets a particular source.

    Key fields: protocol number, source before source NAT, destination after destination NAT, port.
    The first packet takes the set element away; the map element stays until it is deleted.
    """
    flow = pinhole.flow
    family = flow.source.version
    addresses = {flow.destination.address.version, (pinhole.source_nat or flow.source).version}
    if addresses != {family}:
        raise ValueError(f"pinhole between families: {flow}, source {pinhole.source_nat}")
    key = (int(flow.protocol), flow.source, flow.destination.address, flow.destination.port)
    permission = Element(f"pinhole{family}", key, None, pinhole.timeout_s)
    if pinhole.source_nat is None:
        return (permission,)
    source = (pinhole.source_nat,)
    return (permission, Element(f"pinhole_snat{family}", key, source, pinhole.timeout_s))
