"""What is wrong between the values of a configuration.

A check gets the draft and says what it found. It may read any part that is there: a finding that
rests on a doubtful place is left out here, so it names such places beside its own in `needs`.
"""

from __future__ import annotations

from collections.abc import Iterator

from fwlb.config import check_host, check_nat, check_policy
from fwlb.config.draft import Draft
from fwlb.config.messages import Finding


def cross_check(draft: Draft) -> Iterator[Finding]:
    """Run every check; what rests on places that could not be read is left out."""
    for check in (*check_policy.CHECKS, *check_nat.CHECKS, *check_host.CHECKS):
        for finding in check(draft):
            if not any(map(draft.is_doubtful, (finding.path, *finding.needs))):
                yield finding
