"""The team's rules: what its admins set for every device, and how that meets a device's own settings. Pure.

A rule is set by a signed roster entry (`ops.Policy`). Where two admins set one without knowing of each
other, the more cautious value holds. A device applies a rule on top of its owner's settings and takes
the stricter of the two: a node may always offer less than the team asks for, never let in more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from meshconsole.core.errors import Refused
from meshconsole.core.text import safe
from meshconsole.team.ops import Policy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from meshconsole.core.config import Config
    from meshconsole.team.ops import History


class Rules(msgspec.Struct, frozen=True):
    """The rules in force. None: the team leaves it to each owner."""

    history: History = "full"
    rotate_days: int = 30
    plain_messages: bool = False
    share_with_team_only: bool | None = None
    require_authentication: bool | None = None
    allow_public_discovery: bool | None = None
    max_event_bytes: int | None = None
    min_replicas: int | None = None
    max_file_mb: int | None = None
    two_admins: bool = False


def _joining_first(values: Iterable[History]) -> History:
    return "joining" if "joining" in values else "full"


CAUTIOUS: dict[str, Callable[[list[Any]], Any]] = {
    "history": _joining_first,
    "rotate_days": min,
    "plain_messages": all,
    "share_with_team_only": any,
    "require_authentication": any,
    "allow_public_discovery": all,
    "max_event_bytes": min,
    "min_replicas": max,
    "max_file_mb": min,
    "two_admins": any,
}
"""Of several values set side by side, the one that gives away least, or keeps most copies."""


def overlay(rules: Rules, policy: Policy | None) -> Rules:
    """`rules` with what one entry sets."""
    return rules if policy is None else replace(rules, **values_of(policy))


def values_of(policy: Policy) -> dict[str, Any]:
    """What a policy sets; the rules that it leaves alone are not in it."""
    return {name: value for name in CAUTIOUS if (value := getattr(policy, name)) is not None}


def loosens(rules: Rules, policy: Policy) -> bool:
    """Whether a policy sets any rule to a less cautious value than the one in force."""
    return any(
        (before := getattr(rules, name)) is not None and CAUTIOUS[name]([value, before]) != value
        for name, value in values_of(policy).items()
    )


def shown(rules: Rules) -> tuple[tuple[str, str], ...]:
    """Name and value of every rule, for people; "-" where each owner decides."""
    return tuple((name, in_words(getattr(rules, name))) for name in rules.__struct_fields__)


def stricter(config: Config, rules: Rules) -> Config:
    """The owner's settings under the team's rules."""
    privacy, relay, content = config.privacy, config.relay, config.content
    return msgspec.structs.replace(
        config,
        privacy=msgspec.structs.replace(
            privacy,
            share_with_team_only=privacy.share_with_team_only or bool(rules.share_with_team_only),
            require_authentication=privacy.require_authentication or bool(rules.require_authentication),
            allow_public_discovery=(
                privacy.allow_public_discovery and rules.allow_public_discovery is not False
            ),
        ),
        relay=msgspec.structs.replace(
            relay, max_event_bytes=min(relay.max_event_bytes, rules.max_event_bytes or relay.max_event_bytes)
        ),
        content=msgspec.structs.replace(
            content, min_replicas=max(content.min_replicas, rules.min_replicas or content.min_replicas)
        ),
    )


def read_policy(rules: dict[str, str]) -> Policy:
    """Rules as people write them. Raises Refused naming what is wrong."""
    unknown = sorted(rules.keys() - CAUTIOUS.keys())
    if unknown:
        names = ", ".join(safe(name, 32) for name in unknown)
        raise Refused(
            "invalid", f"The team has no rule {names}.", hint=f"The rules are: {', '.join(CAUTIOUS)}."
        )
    values = {name: _ON_OFF.get(value.lower(), value) for name, value in rules.items()}
    try:
        return msgspec.convert(values, Policy, strict=False)
    except msgspec.ValidationError as error:
        raise Refused("invalid", f"That rule does not fit: {str(error).replace('`', '')}.") from None


_ON_OFF: dict[str, bool | str] = {"on": True, "yes": True, "off": False, "no": False}


def in_words(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value)
