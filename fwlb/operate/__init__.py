"""The verbs that the command line and the daemon share: plan, apply, confirm, roll back, take down.

`state` keeps what must survive the process, `host` reads and changes everything of the kernel that
`up` touches, `verbs` puts them in order. Whoever calls brings the clock.
"""

from fwlb.operate.verbs import (
    Applied,
    Confirm,
    Prepared,
    applied_config,
    apply,
    confirm,
    pending_deadline_s,
    prepare,
    roll_back,
    take_down,
)

__all__ = [
    "Applied",
    "Confirm",
    "Prepared",
    "applied_config",
    "apply",
    "confirm",
    "pending_deadline_s",
    "prepare",
    "roll_back",
    "take_down",
]
