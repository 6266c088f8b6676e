"""fwlb: session-aware firewall, NAT and load-balancing helper for clusters of nftables gateways.

The folder tree is the system: `docs/architecture.md` walks through it.
"""

__version__ = "0.1.0"
