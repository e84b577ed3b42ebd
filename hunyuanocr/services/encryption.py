"""Batches for HQ, closed so that nobody on the way reads them, not even whoever steals this machine: NaCl's sealed boxes.

Sealed boxes (X25519, XSalsa20-Poly1305; libsodium's `crypto_box_seal`, by PyNaCl of the Python Cryptographic Authority) need the
receiver's public key alone and a new key for every message. They prove nothing about the sender: the bearer token does. PyNaCl
rather than age: its wheels carry libsodium for all our platforms, and an HQ in any other language has libsodium too.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import json
import zlib
from typing import Any

from nacl.exceptions import CryptoError
from nacl.public import PrivateKey, PublicKey, SealedBox

from hunyuanocr.errors import BadRequest, ConfigError

_MAX_BYTES = 128 * 1024 * 1024  # of an unpacked batch


def generate_keypair() -> tuple[str, str]:
    """A private and a public key, in base64."""
    private = PrivateKey.generate()
    return base64.b64encode(bytes(private)).decode(), base64.b64encode(bytes(private.public_key)).decode()


def public_key(text: str) -> PublicKey:
    """Raises ConfigError unless these are 32 bytes in base64."""
    return PublicKey(_bytes(text, "The public key of HQ"))


def private_key(text: str) -> PrivateKey:
    """Raises ConfigError unless these are 32 bytes in base64."""
    return PrivateKey(_bytes(text, "The private key of HQ"))


def _bytes(text: str, what: str) -> bytes:
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != 32:
        raise ConfigError(f"{what} is not 32 bytes in base64.", hint="Make a pair with: hunyuanocr hq-keys")
    return key


def encrypt_batch(message: Any, to: PublicKey) -> bytes:
    """JSON, packed by gzip, sealed."""
    return bytes(SealedBox(to).encrypt(gzip.compress(json.dumps(message, ensure_ascii=False).encode(), mtime=0)))


def decrypt_batch(sealed: bytes, key: PrivateKey) -> Any:
    """The message again. Raises BadRequest for what was not sealed for this key, or is no message."""
    try:
        packed = SealedBox(key).decrypt(sealed)
        unpacker = zlib.decompressobj(wbits=31)
        plain = unpacker.decompress(packed, _MAX_BYTES)
        if not unpacker.eof:
            raise BadRequest("The batch is too long or cut off.")
        return json.loads(plain)
    except (CryptoError, zlib.error, ValueError, RecursionError) as e:
        raise BadRequest("The batch was not sealed for this key, or is damaged.", hint="Compare the keys.") from e
