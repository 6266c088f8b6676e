"""What is wrong with translation, `[[nat]]` and `[[publish]]`; each check is one function."""

from __future__ import annotations

from collections.abc import Iterator

from fwlb.config.check_policy import unknown_zone, zones_of
from fwlb.config.draft import Draft
from fwlb.config.locate import KeyPath
from fwlb.config.messages import Finding
from fwlb.config.models import Nat, Publish

# --- nat ---------------------------------------------------------------------------------------


def nat_of(draft: Draft) -> Iterator[tuple[int, Nat]]:
    return ((index, nat) for index, nat in enumerate(draft.nat) if nat is not None)


def _nat_zones(draft: Draft) -> Iterator[Finding]:
    for index, nat in nat_of(draft):
        for key, name in (("from", nat.from_zone), ("to", nat.to_zone)):
            yield from unknown_zone(draft, ("nat", index, key), name)
        if nat.from_zone == nat.to_zone:
            yield Finding(
                ("nat", index, "to"),
                f"`from` and `to` are both `{nat.to_zone}`",
                "translation is between two zones",
            )


def _nat_pairs(draft: Draft) -> Iterator[Finding]:
    seen: dict[tuple[str, str], int] = {}
    for index, nat in nat_of(draft):
        first = seen.setdefault((nat.from_zone, nat.to_zone), index)
        if first != index:
            yield Finding(
                ("nat", index),
                f"the translation from `{nat.from_zone}` to `{nat.to_zone}` stands in "
                f"nat[{first}] already",
                "put both into one entry",
            )


def _nat_sources(draft: Draft) -> Iterator[Finding]:
    for index, nat in nat_of(draft):
        zone = draft.zones.get(nat.from_zone)
        if zone is None:
            continue
        needs: tuple[KeyPath, ...] = (("zones", nat.from_zone, "networks"),)
        if not zone.networks:
            yield Finding(
                ("nat", index, "from"),
                f"the zone `{nat.from_zone}` has no `networks`, so nothing says what to hide",
                f"name them in `[zones.{nat.from_zone}]`",
                needs,
            )
            continue
        versions = {network.version for network in zone.networks}
        for version, key, kind in ((4, "ipv4", nat.ipv4), (6, "ipv6", nat.ipv6)):
            written = key in nat.model_fields_set and kind != "none"
            if written and version not in versions:
                yield Finding(
                    ("nat", index, key),
                    f"the zone `{nat.from_zone}` has no IPv{version} network to hide",
                    f"name it in `[zones.{nat.from_zone}]`, or remove this key",
                    needs,
                )


def _nat_addresses(draft: Draft) -> Iterator[Finding]:
    for index, nat in nat_of(draft):
        for version, kind, address in (
            (4, nat.ipv4, nat.ipv4_address),
            (6, nat.ipv6, nat.ipv6_address),
        ):
            kind_path: KeyPath = ("nat", index, f"ipv{version}")
            address_path: KeyPath = ("nat", index, f"ipv{version}_address")
            if kind == "snat" and address is None:
                yield Finding(
                    kind_path,
                    f'`ipv{version} = "snat"` needs `ipv{version}_address`',
                    "add it, or use `masquerade` for the address of the interface",
                    (address_path,),
                )
            if kind != "snat" and address is not None:
                yield Finding(
                    address_path,
                    f'`ipv{version}_address` is only used with `ipv{version} = "snat"`',
                    f'write `ipv{version} = "snat"`, or remove the address',
                    (kind_path,),
                )
        if nat.ipv4 != "snat" and nat.ipv4_ports is not None:
            yield Finding(
                ("nat", index, "ipv4_ports"),
                '`ipv4_ports` is only used with `ipv4 = "snat"`',
                'write `ipv4 = "snat"` with `ipv4_address`, or remove the ports',
                (("nat", index, "ipv4"),),
            )


# --- publish -----------------------------------------------------------------------------------


def publish_of(draft: Draft) -> Iterator[tuple[int, Publish]]:
    return ((index, entry) for index, entry in enumerate(draft.publish) if entry is not None)


def _publish_families(draft: Draft) -> Iterator[Finding]:
    for index, entry in publish_of(draft):
        if entry.address.version != entry.to_address.version:
            yield Finding(
                ("publish", index, "to_address"),
                f"{entry.to_address} is IPv{entry.to_address.version}, but `address` "
                f"{entry.address} is IPv{entry.address.version}",
                "both are of one family; publish the other family in an entry of its own",
            )


def _publish_twice(draft: Draft) -> Iterator[Finding]:
    seen: dict[tuple[str, str, int], int] = {}
    for index, entry in publish_of(draft):
        public = (entry.protocol, str(entry.address), entry.port)
        first = seen.setdefault(public, index)
        if first != index:
            yield Finding(
                ("publish", index),
                f"{entry.protocol} port {entry.port} of {entry.address} is published by "
                f"publish[{first}] already",
                "a public port leads to one server",
                (("publish", first),),
            )


def _publish_targets(draft: Draft) -> Iterator[Finding]:
    networks = [network for _, zone in zones_of(draft) for network in zone.networks]
    # a draft without any zone is doubtful itself, or `_some_zone` speaks of it
    needs: tuple[KeyPath, ...] = tuple(("zones", name, "networks") for name in draft.zones) or (
        ("zones",),
    )
    for index, entry in publish_of(draft):
        path: KeyPath = ("publish", index, "to_address")
        if entry.to_address == entry.address:
            yield Finding(
                path, "`to_address` is the public address itself", "name the server's own"
            )
        elif not any(entry.to_address in network for network in networks):
            yield Finding(
                path,
                f"{entry.to_address} lies in no network of any zone",
                "name its network in the zone that the server is in",
                needs,
            )


CHECKS = (
    _nat_zones,
    _nat_pairs,
    _nat_sources,
    _nat_addresses,
    _publish_families,
    _publish_twice,
    _publish_targets,
)
