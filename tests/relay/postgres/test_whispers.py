from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from meshconsole.relay.postgres.whispers import PART_BYTES, Listener, payloads

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=300)


@given(texts, st.integers(1, 60))
def test_what_is_told_is_heard(text: str, times: int) -> None:
    raw = (text * times).encode()
    parts = payloads("ab" * 32, raw)
    assert all(len(part.encode()) <= PART_BYTES < 8000 for part in parts)
    assert len(set(parts)) == len(parts), "equal payloads of one transaction come once"
    listener = Listener()
    heard = [listener.hear(part) for part in parts]
    assert heard[:-1] == [None] * (len(parts) - 1)
    assert heard[-1] == raw


def test_an_event_without_its_beginning_is_not_heard() -> None:
    parts = payloads("ab" * 32, b"x" * 30_000)
    listener = Listener()
    assert [listener.hear(part) for part in parts[1:]] == [None] * (len(parts) - 1)
    assert [listener.hear(part) for part in parts][-1] == b"x" * 30_000


def test_what_has_no_end_is_given_up() -> None:
    listener = Listener()
    for number in range(0xFFFF):
        assert listener.hear(f"{'ab' * 32}{number:04x}ffff{'x' * 7000}") is None
        assert sum(map(len, listener._parts)) < 4 << 20
