"""A store that several relay processes share: each delivers live what the others took in.

Laws:
- Every event that another process stored is heard exactly once, in the order of `seq`, and before
  this process's own events of a higher `seq` are answered for. Own events are never heard, unless
  their write ended without a verdict and they turn out to be stored after all.
- Ephemeral events of others are heard with seq 0, at most once each. While the connection to the
  others is down they are lost, as they are for a client that is away.
- What was stored while that connection was down is heard when it is up again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from meshconsole.relay.store import FeedRow

VIA_SHARED = "shared store"
"""How the node learns that an event came to it through the store, from another process."""


@runtime_checkable
class SharedStore(Protocol):
    """What a store offers beside `EventStore` when other processes write to it as well."""

    def follow(self, heard: Callable[[Sequence[FeedRow]], None]) -> None:
        """`heard` is called from threads of the store, never twice at the same time."""

    def unfollow(self) -> None:
        """Nothing is heard once this has returned."""

    def pass_on(self, raw: bytes) -> None:
        """Tells the others an ephemeral event. Never blocks; beyond a bound it is dropped."""
