"""What is wrong with zones, and with `[[allow]]` between them; each check is one function."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from fwlb.config.draft import Draft
from fwlb.config.locate import KeyPath
from fwlb.config.messages import Finding, key_text
from fwlb.config.mistake import enumeration, similar
from fwlb.config.models import GATEWAY, Allow, Network, Zone
from fwlb.config.services import PortSpan, parse_service

# --- zones -------------------------------------------------------------------------------------


def zones_of(draft: Draft) -> Iterator[tuple[str, Zone]]:
    return ((name, zone) for name, zone in draft.zones.items() if zone is not None)


def _some_zone(draft: Draft) -> Iterator[Finding]:
    if not draft.zones:
        yield Finding(("zones",), "there is no zone", "add at least one, like `[zones.inside]`")


def _reserved_zone_name(draft: Draft) -> Iterator[Finding]:
    if GATEWAY in draft.zones:
        yield Finding(
            ("zones", GATEWAY),
            f"the zone name `{GATEWAY}` is reserved for this host itself",
            "choose another name",
        )


def _interfaces(draft: Draft) -> Iterator[Finding]:
    seen: dict[str, KeyPath] = {}
    for name, zone in zones_of(draft):
        if not zone.interfaces:
            yield Finding(
                ("zones", name, "interfaces"),
                f"the zone `{name}` has no interface",
                "name at least one; it may be absent with `interfaces_may_be_absent = true`",
            )
        for index, interface in enumerate(zone.interfaces):
            path: KeyPath = ("zones", name, "interfaces", index)
            first = seen.setdefault(interface, path)
            if first != path:
                yield Finding(
                    path,
                    f"the interface `{interface}` is named by {key_text(first)} already",
                    "an interface belongs to exactly one zone, once",
                    (first,),
                )


def _overlapping_networks(draft: Draft) -> Iterator[Finding]:
    # Two networks either have nothing in common or one contains the other. In this order the
    # containing one comes first, so comparing with the last outermost one finds every overlap.
    places: list[tuple[KeyPath, Network]] = [
        (("zones", name, "networks", index), network)
        for name, zone in zones_of(draft)
        for index, network in enumerate(zone.networks)
    ]
    places.sort(key=lambda place: (place[1].version, int(place[1].network_address), place[1]))
    outer: tuple[KeyPath, Network] | None = None
    for path, network in places:
        if outer is None or not _contains(outer[1], network):
            outer = (path, network)
            continue
        same = outer[1] == network
        place = key_text(outer[0])
        yield Finding(
            path,
            f"the network {network} "
            + (f"is named by {place} already" if same else f"lies in {outer[1]} of {place}"),
            "an address belongs to exactly one zone, once: remove one of the two or split it",
            (outer[0],),
        )


def _contains(outer: Network, inner: Network) -> bool:
    return (
        outer.version == inner.version
        and outer.prefixlen <= inner.prefixlen
        and int(outer.network_address) <= int(inner.network_address)
        and int(inner.broadcast_address) <= int(outer.broadcast_address)
    )


def _zones_without_networks(draft: Draft) -> Iterator[Finding]:
    without = [name for name, zone in zones_of(draft) if not zone.networks]
    for name in without[1:]:
        yield Finding(
            ("zones", name, "networks"),
            f"neither `{name}` nor `{without[0]}` has `networks`",
            "only one zone can be everything else; name the networks of the others",
            (("zones", without[0], "networks"),),
        )


def unknown_zone(draft: Draft, path: KeyPath, name: str, *, besides: str = "") -> Iterator[Finding]:
    """`name`, used at `path`, must be a zone; `besides` is allowed as well."""
    if name in draft.zones or name == besides:
        return
    known = [*draft.zones, *([besides] if besides else [])]
    guess = similar(name, known)
    hint = (
        f"did you mean {enumeration([guess])}?"
        if guess
        else f"zones of this file: {enumeration(known)}"
    )
    yield Finding(path, f"there is no zone `{name}`", hint, (("zones", name),))


# --- allow -------------------------------------------------------------------------------------


def _allow(draft: Draft) -> Iterator[tuple[int, Allow]]:
    return ((index, allow) for index, allow in enumerate(draft.allow) if allow is not None)


def _allow_zones(draft: Draft) -> Iterator[Finding]:
    for index, allow in _allow(draft):
        if allow.from_zone == GATEWAY:
            yield Finding(
                ("allow", index, "from"),
                f"`{GATEWAY}` cannot be where a flow starts",
                "what this host itself sends is not filtered: remove this entry",
            )
        else:
            yield from unknown_zone(draft, ("allow", index, "from"), allow.from_zone)
        yield from unknown_zone(draft, ("allow", index, "to"), allow.to_zone, besides=GATEWAY)


def _allow_without_services(draft: Draft) -> Iterator[Finding]:
    for index, allow in _allow(draft):
        if not allow.services:
            yield Finding(
                ("allow", index, "services"),
                "`services` is empty, so this entry says nothing",
                "name a service, or leave `services` out for `any`",
            )


class _Named(NamedTuple):
    """A service, and where it is named."""

    ports: PortSpan
    entry: int
    number: int
    text: str
    action: str


_ALL_PORTS = PortSpan(1, 65535)


def _services_named_twice(draft: Draft) -> Iterator[Finding]:
    named: dict[tuple[str, str], dict[tuple[int | None, bool], list[_Named]]] = {}
    for index, allow in _allow(draft):
        of_pair = named.setdefault((allow.from_zone, allow.to_zone), {})
        for number, text in enumerate(allow.services):
            service = parse_service(text)
            ports = service.ports
            named_here = _Named(ports or _ALL_PORTS, index, number, text, allow.action)
            of_pair.setdefault((service.protocol, ports is None), []).append(named_here)
    for (source, target), of_pair in named.items():
        for entries in of_pair.values():
            yield from _overlapping_services(f"from `{source}` to `{target}`", sorted(entries))


def _overlapping_services(pair: str, entries: list[_Named]) -> Iterator[Finding]:
    """`entries` are of one protocol, by first port."""
    reaching = entries[0]
    for entry in entries[1:]:
        if entry.ports.overlaps(reaching.ports):
            former, later = sorted((reaching, entry), key=lambda each: (each.entry, each.number))
            place: KeyPath = ("allow", former.entry, "services", former.number)
            relation = (
                f"is named by {key_text(place)} already"
                if former.text == later.text
                else f"overlaps `{former.text}` of {key_text(place)}"
            )
            contrary = f", with `{former.action}`" if former.action != later.action else ""
            yield Finding(
                ("allow", later.entry, "services", later.number),
                f"`{later.text}` {pair} {relation}{contrary}",
                "entries have no order: name each service of two zones once",
                (place, ("allow", former.entry, "action"), ("allow", later.entry, "action")),
            )
        if entry.ports.last > reaching.ports.last:
            reaching = entry


CHECKS = (
    _some_zone,
    _reserved_zone_name,
    _interfaces,
    _overlapping_networks,
    _zones_without_networks,
    _allow_zones,
    _allow_without_services,
    _services_named_twice,
)
