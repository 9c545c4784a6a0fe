from __future__ import annotations

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from walkforward_core.errors import DocumentError
from walkforward_core.receipts import MAX_LENGTH, Receipt, seal, unseal

RECEIPT = Receipt(
    id="q-1",
    ts=1_760_000_400_000,
    symbol="EURUSD",
    generation=17,
    plan="0123456789abcdef",
    stable="v1",
    candidate="v2",
    base_position=-0.5,
    base_ms=18_000_000,
    bar_ms=3_600_000,
    round_trip=0.0002,
    row=b"\x00" * 120,
)
TOKENS = st.one_of(st.none(), st.binary(min_size=1, max_size=40))


@given(token=TOKENS, identity=st.text(max_size=40), row=st.binary(max_size=400), base=st.one_of(st.none(), st.floats(-1, 1)))
def test_comes_back_as_it_went(token: bytes | None, identity: str, row: bytes, base: float | None) -> None:
    receipt = Receipt(
        **{**{name: getattr(RECEIPT, name) for name in Receipt.__struct_fields__}, "id": identity, "row": row, "base_position": base}
    )
    text = seal(receipt, token)
    assert "=" not in text
    assert unseal(text, token) == receipt


@given(position=st.integers(0, 10_000), flip=st.integers(1, 255), token=TOKENS)
@settings(max_examples=100)
def test_every_changed_byte_is_noticed(position: int, flip: int, token: bytes | None) -> None:
    text = seal(RECEIPT, token)
    raw = bytearray(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    raw[position % len(raw)] ^= flip
    with pytest.raises(DocumentError):
        unseal(base64.urlsafe_b64encode(bytes(raw)).rstrip(b"=").decode(), token)


def test_a_signature_cannot_be_made_or_dropped_without_the_token() -> None:
    with pytest.raises(DocumentError, match="not signed with this server's outcomes token"):
        unseal(seal(RECEIPT, None), b"secret")
    with pytest.raises(DocumentError, match="not signed with this server's outcomes token"):
        unseal(seal(RECEIPT, b"other"), b"secret")
    with pytest.raises(DocumentError, match="damaged, or signed where no token is set"):
        unseal(seal(RECEIPT, b"secret"), None)


@given(text=st.text(max_size=300))
@settings(max_examples=100)
def test_anything_else_is_refused_with_a_reason(text: str) -> None:
    with pytest.raises(DocumentError, match="receipt"):
        unseal(text, None)


def test_an_endless_receipt_is_not_looked_at() -> None:
    with pytest.raises(DocumentError, match="at most"):
        unseal("A" * (MAX_LENGTH + 1), None)
