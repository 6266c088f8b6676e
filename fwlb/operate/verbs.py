"""The verbs on the ruleset. Each holds the lock of the state directory while it changes anything.

`apply` is all or nothing: whatever fails, the host is moved back to what was observed before.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fwlb import model
from fwlb.config.load import parse
from fwlb.config.models import Config
from fwlb.errors import (
    ConfirmError,
    ForeignTableError,
    InterfaceError,
    NftCrashError,
    RulesetError,
    VerifyError,
    Where,
)
from fwlb.kernel import nft, routes, sysctl
from fwlb.kernel.privilege import require_root
from fwlb.operate.host import HostPlan, HostState, content, move, observe, observe_routing
from fwlb.operate.state import State
from fwlb.ruleset.listing import parse as parse_listing
from fwlb.ruleset.source import Source, source

COMMENT = "made by fwlb"
"""The comment by which a table of our name is known to be ours."""
TABLES = [("inet", "fwlb")]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A configuration that this kernel accepts, and what it would change."""

    config: Config
    plan: HostPlan


@dataclass(frozen=True, slots=True)
class Applied:
    """What `apply` did."""

    changed: bool
    objects: int
    confirm_s: float | None

    def as_json(self) -> dict[str, Any]:
        return {"applied": True, "changed": self.changed, "confirm_within_s": self.confirm_s}

    def as_text(self) -> str:
        if not self.changed:
            return "applied: nothing to change"
        objects = f"{self.objects} object{'' if self.objects == 1 else 's'}"
        text = f"applied and verified: {objects} of table inet fwlb changed"
        if self.confirm_s is not None:
            text += f"; run `fwlb confirm` within {self.confirm_s:g} s, or it is rolled back"
        return text


@dataclass(frozen=True, slots=True)
class Confirm:
    """A change that must be confirmed within `seconds`. `start_watchdog` starts the process that
    rolls back, before anything is changed."""

    seconds: float
    start_watchdog: Callable[[Path], None]


@dataclass(slots=True)
class Undo:
    """What was there before fwlb: original sysctls, and the routing tables it ever used."""

    sysctl: dict[str, str]
    route_tables: list[int]

    @classmethod
    def read(cls, state: State) -> Undo:
        value = state.read("undo") or {}
        return cls(value.get("sysctl", {}), value.get("route_tables", []))

    def only(self, config: Config) -> None:
        """Forget what is put back: settings and tables that `config` does not name."""
        self.sysctl = {name: self.sysctl[name] for name in self.sysctl if name in config.sysctl}
        self.route_tables = [config.relay.route_table]

    def write(self, state: State) -> None:
        state.write("undo", {"sysctl": self.sysctl, "route_tables": self.route_tables})


def prepare(config: Config) -> Prepared:
    """Ask the kernel, in a scratch namespace, what `config` means, and compare with what is there.

    Raises `RulesetError` (with the file and line of the operator's own rules where these are
    wrong), `InterfaceError`, `ForeignTableError`, `PrivilegeError`, `MissingFeatureError`.
    """
    require_root()
    _require_interfaces(config)
    rules = source(config)
    devices = [name for zone in config.zones.values() for name in zone.interfaces]
    try:
        live, wanted = nft.compare(rules.text, devices)
    except RulesetError as error:
        raise _at_origin(error, rules) from error
    if [tuple(table) for table in wanted.tables] != TABLES:
        raise RulesetError(
            "your own rules make tables beside `inet fwlb`",
            where=Where(str(config.paths.rules)),
            hint="keep other tables in a ruleset of their own, such as /etc/nftables.conf",
        )
    if live is not None:
        _require_ours(live.listing)
    undo = Undo.read(State(config.paths.state))
    wanted_sysctl = undo.sysctl | {name: str(value) for name, value in config.sysctl.items()}
    tables = {*undo.route_tables, config.relay.route_table}
    return Prepared(
        config,
        HostPlan(
            HostState(
                content(live) if live else None,
                observe_routing(tables),
                {name: sysctl.read(name) for name in wanted_sysctl},
            ),
            HostState(content(wanted), _wanted_routing(config), wanted_sysctl),
        ),
    )


def apply(
    config: Config, *, file: Path, now_s: float, boot_id: str, confirm: Confirm | None = None
) -> Applied:
    """Make the kernel what `config` says, verify it, or leave everything as it was.

    `now_s` is CLOCK_BOOTTIME. Raises what `prepare` raises, `VerifyError`, `ConfirmError`.
    """
    require_root()
    state = State(config.paths.state)
    with state.locked():
        _settle_pending(state, now_s, boot_id)
        prepared = prepare(config)
        plan = prepared.plan
        former = state.read("undo")
        undo = _note_undo(state, config, plan.live)
        if confirm is not None:
            state.write(
                "pending",
                {
                    "deadline_s": now_s + confirm.seconds,
                    "boot_id": boot_id,
                    "before": plan.live.as_json(),
                    "undo": former,
                    "applied": state.read("applied"),
                },
            )
            confirm.start_watchdog(state.directory)
        try:
            move(plan)
            _verify(config)
            undo.only(config)
            undo.write(state)
            state.write("applied", {"file": str(file), "config": file.read_text(encoding="utf-8")})
        except BaseException:
            _move_back(state, plan.live)
            _restore_undo(state, former)
            raise
        seconds = confirm.seconds if confirm else None
        return Applied(not plan.is_empty, len(plan.table.changes), seconds)


def confirm(directory: Path) -> None:
    """Keep what was applied. Raises `ConfirmError` when nothing waits, `PrivilegeError`."""
    require_root()
    state = State(directory)
    with state.locked():
        if state.read("pending") is None:
            raise ConfirmError(
                "no change waits for confirmation",
                hint="it was confirmed before, or the time was over and it was rolled back",
            )
        state.remove("pending")


def pending_deadline_s(directory: Path) -> float | None:
    """CLOCK_BOOTTIME at which the pending change is rolled back; None when nothing waits."""
    pending = State(directory).read("pending")
    return None if pending is None else float(pending["deadline_s"])


def roll_back(directory: Path) -> bool:
    """Go back to what was before the pending change. False when nothing waits.

    Returns True with `applied.json` telling what is in force again (absent: nothing is).
    """
    state = State(directory)
    with state.locked():
        pending = state.read("pending")
        if pending is None:
            return False
        _roll_back(state, pending)
        return True


def applied_config(directory: Path) -> Config | None:
    """The configuration that is in force, as it was when it was applied."""
    applied = State(directory).read("applied")
    return None if applied is None else parse(applied["config"], applied["file"])


def take_down(config: Config) -> list[str]:
    """Remove everything that `up` made; says what, line by line. The daemon is stopped already."""
    require_root()
    state = State(config.paths.state)
    with state.locked():
        undo = Undo.read(state)
        tables = {*undo.route_tables, config.relay.route_table}
        live = observe(tables, undo.sysctl)
        if live.table is not None:
            _require_ours(live.table.listing)
        plan = HostPlan(live, HostState(None, frozenset(), undo.sysctl))
        removed = [] if live.table is None else ["table inet fwlb"]
        removed += [str(item) for item in sorted(live.routing)]
        removed += [
            f"{name} = {live.sysctl[name]} (now {value} again)"
            for name, value in undo.sysctl.items()
            if live.sysctl[name] != value
        ]
        move(plan)
        state.remove_all()
    with contextlib.suppress(OSError):  # it never was, or somebody keeps something there
        config.paths.runtime.rmdir()
    return removed


# --- parts -----------------------------------------------------------------------------------


def _require_interfaces(config: Config) -> None:
    present = routes.interfaces()
    for zone_name, zone in config.zones.items():
        if zone.interfaces_may_be_absent:
            continue
        for interface in zone.interfaces:
            if interface not in present:
                raise InterfaceError(
                    f"interface {interface} does not exist",
                    where=Where(key=f"zones.{zone_name}.interfaces"),
                    hint=f"interfaces here: {', '.join(sorted(present))}; or set "
                    f"zones.{zone_name}.interfaces_may_be_absent = true",
                )


def _require_ours(listing: str) -> None:
    if parse_listing(listing).comment != COMMENT:
        raise ForeignTableError(
            "a table `inet fwlb` exists that fwlb did not make",
            hint="rename it, or remove it: nft delete table inet fwlb",
        )


def _at_origin(error: RulesetError, rules: Source) -> RulesetError:
    """The same error, at the file and line where the operator can mend it."""
    if isinstance(error, NftCrashError) and rules.own_files:
        hint = f"a rule of yours may be the reason ({', '.join(rules.own_files)}). {error.hint}"
        return NftCrashError(error.message, hint=hint)
    if error.where.line is None:
        return error
    where = rules.where(error.where.line)
    return type(error)(error.message, where=where, hint=error.hint)


def _wanted_routing(config: Config) -> frozenset[routes.RelayRoute]:
    if not any(helper.enabled for _, helper in config.helpers):
        return frozenset()
    interfaces = [name for zone in config.zones.values() for name in zone.interfaces]
    return frozenset(
        routes.wanted_relay_routes(config.relay.route_table, model.MARK_RELAY_IN, interfaces)
    )


def _note_undo(state: State, config: Config, live: HostState) -> Undo:
    """Write down what is about to change, before it changes."""
    undo = Undo.read(state)
    for name in config.sysctl:
        undo.sysctl.setdefault(name, live.sysctl[name])
    if config.relay.route_table not in undo.route_tables:
        undo.route_tables.append(config.relay.route_table)
    undo.write(state)
    return undo


def _verify(config: Config) -> None:
    plan = prepare(config).plan
    if not plan.is_empty:
        lines = [x if isinstance(x, str) else f"{x.op.value} {x.text}" for x in plan.patch()]
        raise VerifyError(
            "the kernel shows something else than was applied; everything was put back:\n    "
            + "\n    ".join(lines[:12]),
            hint="another program may be writing to table inet fwlb: run `fwlb up` again",
        )


def _move_back(state: State, before: HostState) -> None:
    now = observe(Undo.read(state).route_tables, before.sysctl)
    move(HostPlan(now, before))
    state.remove("pending")


def _restore_undo(state: State, former: dict[str, Any] | None) -> None:
    if former is None:
        state.remove_all()
    else:
        state.write("undo", former)


def _settle_pending(state: State, now_s: float, boot_id: str) -> None:
    """A change that nobody confirmed comes first, also when its watchdog was killed."""
    pending = state.read("pending")
    if pending is None:
        return
    left_s = pending["deadline_s"] - now_s
    if pending["boot_id"] == boot_id and left_s > 0:
        raise ConfirmError(
            f"a change still waits for confirmation ({left_s:.0f} s left)",
            hint="run `fwlb confirm`, or wait until it is rolled back",
        )
    _roll_back(state, pending)
    raise ConfirmError(
        "the last change was never confirmed; what was before it is in force again",
        hint="mend the configuration and run `fwlb up --confirm` again",
    )


def _roll_back(state: State, pending: dict[str, Any]) -> None:
    before = HostState.from_json(pending["before"])
    if pending["applied"] is None:
        state.remove("applied")
    else:
        state.write("applied", pending["applied"])
    _move_back(state, before)
    _restore_undo(state, pending["undo"])
