"""Encryption of batches for HQ with NaCl sealed boxes: only HQ can decrypt them, not even a thief of this machine.

Sealed boxes (X25519, XSalsa20-Poly1305; libsodium's `crypto_box_seal`, through PyNaCl) need only the receiver's public key and
use a new key for each message. They do not authenticate the sender; the bearer token does. PyNaCl rather than age: its wheels
include libsodium for all our platforms, and libsodium exists for every language that HQ may use.
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

MAX_BATCH_BYTES = 16 * 1024 * 1024  # decompressed; a sender fills a batch up to 4 MB
_MAX_SIGNS = 1_000_000  # each value needs one; as Python objects these take 100 MB at most
_SIGNS = (b"[", b"{", b",", b":")


def generate_keypair() -> tuple[str, str]:
    """Return a private and a public key in base64."""
    private = PrivateKey.generate()
    return base64.b64encode(bytes(private)).decode(), base64.b64encode(bytes(private.public_key)).decode()


def public_key(text: str) -> PublicKey:
    """Return the key. Raises ConfigError unless `text` is 32 bytes in base64."""
    return PublicKey(_decode_key(text, "The public key of HQ"))


def private_key(text: str) -> PrivateKey:
    """Return the key. Raises ConfigError unless `text` is 32 bytes in base64."""
    return PrivateKey(_decode_key(text, "The private key of HQ"))


def _decode_key(text: str, what: str) -> bytes:
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != 32:
        raise ConfigError(f"{what} is not 32 bytes in base64.", hint="Create a key pair with: hunyuanocr hq-keys")
    return key


def encrypt_batch(message: Any, to: PublicKey) -> bytes:
    """Return the message as JSON, compressed with gzip, encrypted."""
    return bytes(SealedBox(to).encrypt(gzip.compress(json.dumps(message, ensure_ascii=False).encode(), mtime=0)))


def decrypt_batch(encrypted: bytes, key: PrivateKey, max_bytes: int = MAX_BATCH_BYTES) -> Any:
    """Return the message. Raises BadRequest if it is damaged, longer than `max_bytes`, or encrypted for another key.

    A few kilobytes can be decompressed to gigabytes, and JSON of many small values takes 30 times its size in memory. Therefore
    the size and the number of values are checked before the JSON is parsed.
    """
    try:
        compressed = SealedBox(key).decrypt(encrypted)
        decompressor = zlib.decompressobj(wbits=31)
        plain = decompressor.decompress(compressed, max_bytes)
        if not decompressor.eof:
            raise BadRequest("The batch is too large or truncated.", hint=f"Send at most {max_bytes >> 20} MB of JSON.")
        if sum(plain.count(sign) for sign in _SIGNS) > _MAX_SIGNS:
            raise BadRequest("The batch has too many values.", hint="Send fewer records in one batch.")
        return json.loads(plain)
    except (CryptoError, zlib.error, ValueError, RecursionError) as e:
        raise BadRequest("The batch is damaged or encrypted for another key.", hint="Compare the key pair.") from e
