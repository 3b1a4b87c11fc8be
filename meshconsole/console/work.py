"""Starting what takes a while, as a worker that Textual owns and ends with its screen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from textual.dom import DOMNode
    from textual.worker import Worker


def start(
    node: DOMNode,
    work: Callable[[], Coroutine[Any, Any, object]],
    group: str,
    *,
    exclusive: bool = False,
) -> None:
    """`work` is called later, so nothing is left unawaited when the screen ends first.

    An error that it does not handle is a fault of ours and ends the console with its place.
    """
    _worker: Worker[object] = node.run_worker(work, group=group, exclusive=exclusive)
