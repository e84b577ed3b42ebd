"""Tokens of an identity provider: what is taken, and every forgery that is known from others."""

import base64
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from api.auth.jwt_verifier import JwtVerifier
from hunyuanocr.config import Settings
from hunyuanocr.config.security import JwtSettings
from hunyuanocr.errors import ConfigError
from hunyuanocr.services.api_keys import DEFAULT_SCOPES, Scope
from tests.api.auth.conftest import AWAY, JWT, SECRET, Build, code, token

RSA = rsa.generate_private_key(65537, 2048)
OTHER_RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
NAMES = {"issuer": JWT["issuer"], "audience": JWT["audience"]}


def settings(**jwt_settings: Any) -> JwtSettings:
    return Settings(security={"jwt": NAMES | jwt_settings}).security.jwt


def pem(key: Any) -> Any:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def jwk(key: RSAPrivateKey | EllipticCurvePrivateKey, kid: str, **more: Any) -> dict[Any, Any]:
    make: Any = jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else jwt.algorithms.ECAlgorithm
    return make.to_jwk(key.public_key(), as_dict=True) | {"kid": kid} | more


def by_hand(header: dict[Any, Any] | list[Any], claims: dict[str, Any], signature: bytes = b"") -> str:
    parts = (json.dumps(header).encode(), json.dumps(claims).encode(), signature)
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


async def test_a_valid_token_has_an_identity_and_scopes() -> None:
    identity = await JwtVerifier(settings(secret=SECRET)).verify(token())
    assert (identity.owner, identity.name, identity.scopes, identity.method) == ("nurse", "nurse", DEFAULT_SCOPES, "token")
    by_claim = JwtVerifier(settings(secret=SECRET, owner_claim="tenant", scope_claim="roles"))
    identity = await by_claim.verify(token(tenant="clinic", roles=["admin", "cook"]))
    assert (identity.owner, identity.name, identity.scopes) == ("clinic", "nurse", frozenset({Scope.ADMIN}))


async def test_a_token_with_a_huge_expiry() -> None:
    identity = await JwtVerifier(settings(secret=SECRET)).verify(token(exp=10**400))
    assert identity.owner == "nurse"
    assert identity.until > time.time() + 1e9


@pytest.mark.parametrize("claims", [
    {"exp": 1}, {"exp": None}, {"exp": "soon"}, {"exp": time.time() - 31}, {"iss": "https://evil"}, {"iss": None},
    {"aud": "other"}, {"aud": None}, {"aud": ["other", "more"]}, {"nbf": time.time() + 1e7}, {"iat": time.time() + 1e7},
    {"sub": None}, {"sub": ""}, {"sub": 7}, {"sub": "a\nb"}, {"sub": "x" * 201},
])  # fmt: skip
async def test_invalid_claims_are_rejected(claims: dict[str, Any]) -> None:
    usual = {"sub": claims["sub"]} if isinstance(claims.get("sub"), str) else {}
    try:
        made = token(**claims)
    except TypeError:  # PyJWT itself makes no such token
        whole = json.dumps(claims | {"iss": JWT["issuer"], "aud": "ocr"} | usual)
        made = jwt.api_jws.encode(whole.encode(), SECRET.encode(), "HS256")
    assert await JwtVerifier(settings(secret=SECRET)).verify(made) is None


async def test_forgeries() -> None:
    good = JwtVerifier(settings(secret=SECRET))
    claims = {"iss": JWT["issuer"], "aud": "ocr", "sub": "nurse", "scope": "admin", "exp": time.time() + 600}
    head, body, signature = token().split(".")
    raised = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    for forged in (
        token("", "none"),
        by_hand({"alg": "none"}, claims),
        by_hand({"alg": "None"}, claims),
        by_hand({"alg": "nOnE"}, claims, b"x"),
        by_hand({}, claims),
        by_hand({"alg": ["HS256"]}, claims),
        by_hand({"alg": None}, claims),
        by_hand([], claims),
        token("a secret of somebody else that is as long as the first one"),
        token(SECRET * 2, "HS512"),
        token(RSA, "RS256"),
        f"{head}.{raised}.{signature}",
        f"{head}.{body}.",
        f"{head}.{body}",
        f"{head}.{body}.{signature}.",
        "..",
        "a.b.c",
        "é.é.é",
        token() + "A",
        token(name="x" * 9000),
        token(headers={"crit": ["exp"]}),
    ):
        assert await good.verify(forged) is None, forged[:60]


@pytest.mark.parametrize(("key", "algorithm"), [(RSA, "RS256"), (EC, "ES256")])
async def test_a_public_key_is_not_accepted_as_a_secret(
    tmp_path: Path, key: RSAPrivateKey | EllipticCurvePrivateKey, algorithm: str
) -> None:
    """With the public key as the secret of HS256, everybody could make tokens."""
    file = tmp_path / "key.pem"
    file.write_bytes(pem(key))
    checked = JwtVerifier(settings(key_file=file))
    assert (await checked.verify(token(key, algorithm))).owner == "nurse"
    assert await checked.verify(token(OTHER_RSA, "RS256")) is None
    claims = {"iss": JWT["issuer"], "aud": "ocr", "sub": "nurse", "exp": int(time.time()) + 600}
    signed = by_hand({"alg": "HS256", "typ": "JWT"}, claims).rsplit(".", 1)[0]
    mac = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    confused = f"{signed}.{base64.urlsafe_b64encode(mac.sign(signed.encode(), pem(key))).decode().rstrip('=')}"
    assert await checked.verify(confused) is None
    assert jwt.get_unverified_header(confused)["alg"] == "HS256"
    inside = token(OTHER_RSA, "RS256", {"jwk": jwk(OTHER_RSA, "mine"), "jku": "https://evil/keys", "kid": "../../etc/passwd"})
    assert await checked.verify(inside) is None, "a token does not bring its own key"


def test_unusable_keys_are_rejected(tmp_path: Path) -> None:
    private = RSA.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for content in (b"no key", pem(rsa.generate_private_key(65537, 1024)), pem(ec.generate_private_key(ec.SECP384R1())), private):
        (tmp_path / "key.pem").write_bytes(content)
        with pytest.raises(ConfigError, match="key_file"):
            JwtVerifier(settings(key_file=tmp_path / "key.pem"))
    with pytest.raises(ConfigError, match="Cannot read"):
        JwtVerifier(settings(key_file=tmp_path / "none.pem"))
    for wrong in (
        {"secret": "short"},
        {"secret": SECRET, "key_file": "x"},
        {"jwks_url": "http://id.shop/keys"},
        {"jwks_url": "file:///x"},
    ):
        with pytest.raises(ValueError, match="jwt"):
            settings(**wrong)
    with pytest.raises(ValueError, match="audience"):
        Settings(security={"jwt": {"secret": SECRET, "issuer": "x"}})


class Provider(BaseHTTPRequestHandler):
    """Publishes `server.published`; counts how often it was asked."""

    def do_GET(self) -> None:
        server: Any = self.server
        server.asked += 1
        body = json.dumps(server.published).encode()
        self.send_response(302 if self.path == "/moved" else 200)
        self.send_header("Location", "/keys")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def provider() -> Iterator[Any]:
    server: Any
    with HTTPServer(("127.0.0.1", 0), Provider) as server:
        server.asked, server.published = 0, {"keys": [jwk(RSA, "one"), jwk(EC, "two")]}
        server.url = f"http://127.0.0.1:{server.server_port}/keys"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join(10)


async def test_keys_from_a_jwks_url(provider: Any) -> None:
    checked = JwtVerifier(settings(jwks_url=provider.url))
    checked.jwks.min_fetch_interval_s = 1e6
    assert (await checked.verify(token(RSA, "RS256", {"kid": "one"}))).owner == "nurse"
    assert (await checked.verify(token(EC, "ES256", {"kid": "two"}))).owner == "nurse"
    for wrong in (
        token(RSA, "RS256", {"kid": "two"}),
        token(EC, "ES256", {"kid": "one"}),
        token(OTHER_RSA, "RS256", {"kid": "one"}),
        token(RSA, "RS256"),
        token(SECRET, "HS256", {"kid": "one"}),
    ):
        assert await checked.verify(wrong) is None
    for n in range(50):
        assert await checked.verify(token(RSA, "RS256", {"kid": f"made up {n}"})) is None
    assert provider.asked == 1, "strangers do not make us ask"
    provider.published = {"keys": [jwk(OTHER_RSA, "three")]}
    checked.jwks.min_fetch_interval_s = checked.jwks.refresh_interval_s = 0.0
    assert (await checked.verify(token(RSA, "RS256", {"kid": "one"}))).owner == "nurse", "the old set is renewed meanwhile"
    await checked.jwks.refresh_task
    assert (await checked.verify(token(OTHER_RSA, "RS256", {"kid": "three"}))).owner == "nurse", "a new key is found"
    assert await checked.verify(token(RSA, "RS256", {"kid": "one"})) is None, "a withdrawn one is gone"


async def test_jwks_with_secrets_redirects_and_failures(provider: Any) -> None:
    secret = {"kty": "oct", "k": base64.urlsafe_b64encode(SECRET.encode()).decode().rstrip("="), "kid": "s"}
    provider.published = {"keys": [secret, jwk(RSA, "enc", use="enc"), jwk(OTHER_RSA, "384", alg="RS384")]}
    checked = JwtVerifier(settings(jwks_url=provider.url))
    for key, algorithm, id in ((SECRET, "HS256", "s"), (RSA, "RS256", "enc"), (OTHER_RSA, "RS256", "384")):
        assert await checked.verify(token(key, algorithm, {"kid": id})) is None
    provider.published = {"keys": [jwk(RSA, "one")]}
    moved = JwtVerifier(settings(jwks_url=provider.url.replace("/keys", "/moved")))
    assert await moved.verify(token(RSA, "RS256", {"kid": "one"})) is None
    assert await JwtVerifier(settings(jwks_url="http://127.0.0.1:9/keys")).verify(token(RSA, "RS256", {"kid": "one"})) is None


async def test_a_token_authenticates_a_request(build: Build) -> None:
    running_app = await build(**AWAY, security={"jwt": JWT})
    for shown, expected in ((token(), 200), (token(scope="submit"), 403), (token(exp=1), 401), (token("", "none"), 401)):
        async with running_app.client(shown) as client:
            assert (await client.get("/v1/records")).status_code == expected
    async with running_app.client(token(scope=None)) as client:
        assert code(await client.get("/v1/records")) == (403, "missing_scope")
        assert (await client.get("/v1/models")).status_code == 200
