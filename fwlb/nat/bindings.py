"""A binding as the two map elements that make the kernel translate (`rules/10-data.nft`)."""

from __future__ import annotations

from fwlb.model import Binding, Element


def elements(binding: Binding) -> tuple[Element, Element]:
    """Public endpoint -> inside endpoint for flows that come in, and the way back for flows that
    start at the inside endpoint. Key fields: protocol number, address, port."""
    family = binding.public.address.version
    if binding.inside.address.version != family:
        raise ValueError(f"binding between families: {binding.inside} and {binding.public}")
    inside = (binding.inside.address, binding.inside.port)
    public = (binding.public.address, binding.public.port)
    protocol, timeout_s = int(binding.protocol), binding.timeout_s
    return (
        Element(f"binding_in{family}", (protocol, *public), inside, timeout_s),
        Element(f"binding_out{family}", (protocol, *inside), public, timeout_s),
    )
