"""Network-namespace lab that the demo, the tests and the benchmarks share.

`topology.Lab` builds it, `host.Host` runs programs in it, `programs` knows the real programs,
`transfers` what they transfer, `demo` shows it all.
"""

from fwlb.lab.host import Host
from fwlb.lab.owners import LabRecord, clean, leftovers
from fwlb.lab.plan import LabOptions
from fwlb.lab.process import Answering, Appears, Listening, Process, Ready, Says
from fwlb.lab.topology import Lab

__all__ = [
    "Answering",
    "Appears",
    "Host",
    "Lab",
    "LabOptions",
    "LabRecord",
    "Listening",
    "Process",
    "Ready",
    "Says",
    "clean",
    "leftovers",
]
