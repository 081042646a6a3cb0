"""A live voice on its way: frames of sound, each signed by a key that is made for one session.

The public half of the key stands in the signed command that tells loudspeakers to hear the session, so neither the
broker nor who else may write to its topic can put a word in. A signature of a session says nothing in another.

==============  =====================================================================================================
2 bytes         ``4B 56``
1 byte          version, 1
4 bytes         number of the frame, big-endian; it only grows
0 or 1280       40 ms of sound: 16-bit samples, little-endian, mono, 16,000 a second; none at all is the end
64 bytes        Ed25519 (RFC 8032) over ``keng.voice/1``, NUL, and all that stands before
==============  =====================================================================================================
"""

from __future__ import annotations

import base64
import struct

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

#: Samples a second: twice what a horn reproduces (to 6 kHz or so), and a third of what music would need.
RATE = 16_000
FRAME_S = 0.04
FRAME_BYTES = round(2 * RATE * FRAME_S)

_HEAD = struct.Struct(">2sBI")
_MAGIC, _VERSION = b"KV", 1
_SIGNATURE_BYTES = 64
#: What a signed document (``eyJ…``) can never begin with.
_CONTEXT = b"keng.voice/1\0"


class Speaking:
    """The speaking end of one session."""

    def __init__(self) -> None:
        self._key = Ed25519PrivateKey.generate()
        self._number = 0

    @property
    def key(self) -> str:
        """The public key, as ``Live`` carries it."""
        return base64.urlsafe_b64encode(self._key.public_key().public_bytes_raw()).rstrip(b"=").decode()

    def frame(self, sound: bytes) -> bytes:
        """The next frame with :data:`FRAME_BYTES` of sound; with none, the last."""
        self._number += 1
        body = _HEAD.pack(_MAGIC, _VERSION, self._number) + sound
        return body + self._key.sign(_CONTEXT + body)


class Listening:
    """The listening end of one session. Raises ValueError for a key that is none."""

    def __init__(self, key: str) -> None:
        self._key = Ed25519PublicKey.from_public_bytes(base64.urlsafe_b64decode(key + "="))
        self._number = 0
        self.refused = 0

    def take(self, frame: bytes) -> bytes | None:
        """The sound of a frame, empty for the last one; None, and counted, for anything that is not the session's next:
        forged, altered, repeated, out of its order."""
        body, signature = frame[:-_SIGNATURE_BYTES], frame[-_SIGNATURE_BYTES:]
        if len(body) in (_HEAD.size, _HEAD.size + FRAME_BYTES):
            magic, version, number = _HEAD.unpack_from(body)
            if (magic, version) == (_MAGIC, _VERSION) and number > self._number and self._signed(body, signature):
                self._number = number
                return body[_HEAD.size :]
        self.refused += 1
        return None

    def _signed(self, body: bytes, signature: bytes) -> bool:
        try:
            self._key.verify(signature, _CONTEXT + body)
        except InvalidSignature:
            return False
        return True
