"""The receipt of one decision: what a client hands back with its outcome (contract C5).

A receipt is self-contained, so that any pod can take the outcome, also after the pod that answered is gone. The answer never waits for the
other model, so a receipt cannot hold both positions; it holds the row, from which both follow again exactly (``docs/decisions``).

Form: base64url without padding of ``payload + tag``. The payload is a msgpack array, the tag a checksum of 8 bytes, or, where an outcomes
token is configured, the first 16 bytes of HMAC-SHA256 over the payload.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

import msgspec

from walkforward_core.errors import DocumentError

__all__ = ["MAX_LENGTH", "Receipt", "seal", "unseal"]

MAX_LENGTH = 65_536
"""Characters of a receipt that :func:`unseal` is willing to look at."""

_CHECKSUM, _SIGNATURE = 8, 16


class Receipt(msgspec.Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """One decision of a pair of models.

    ``ts`` is market time in epoch milliseconds, ``row`` the float32 little-endian values of the columns of the stable model followed by
    those that only the candidate has; ``base_position`` is null where the client gave none. ``base_ms`` is the horizon, ``bar_ms`` the
    timeframe, ``round_trip`` the cost as a fraction.
    """

    id: str
    ts: int
    symbol: str
    generation: int
    plan: str
    stable: str
    candidate: str
    base_position: float | None
    base_ms: int
    bar_ms: int
    round_trip: float
    row: bytes


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Receipt).decode


def seal(receipt: Receipt, token: bytes | None) -> str:
    """Return the receipt as text; signed when ``token`` is given, else with a checksum against damage only."""
    payload = _encode(receipt)
    return base64.urlsafe_b64encode(payload + _tag(payload, token)).rstrip(b"=").decode("ascii")


def unseal(text: str, token: bytes | None) -> Receipt:
    """Return the receipt in ``text``.

    Raises
    ------
    DocumentError
        Not a receipt, damaged on the way, or not signed with ``token``.
    """
    if len(text) > MAX_LENGTH:
        raise DocumentError(f"receipt has {len(text)} characters, at most {MAX_LENGTH} are read; send it as it was received")
    try:
        raw = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise DocumentError(f"receipt is not base64url: {error}; send it as it was received") from error
    size = _SIGNATURE if token is not None else _CHECKSUM
    payload, tag = raw[:-size], raw[-size:]
    if len(raw) <= size or not hmac.compare_digest(tag, _tag(payload, token)):
        why = "is not signed with this server's outcomes token" if token is not None else "is damaged, or signed where no token is set"
        raise DocumentError(f"receipt {why}; send it as it was received")
    try:
        return _decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DocumentError(f"receipt was written by another version: {error}") from error


def _tag(payload: bytes, token: bytes | None) -> bytes:
    if token is None:
        return hashlib.blake2b(payload, digest_size=_CHECKSUM).digest()
    return hmac.digest(token, payload, "sha256")[:_SIGNATURE]
