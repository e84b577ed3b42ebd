"""Errors of authentication and authorization."""

from __future__ import annotations

from hunyuanocr.errors.base import HunyuanOcrError


class Forbidden(HunyuanOcrError):
    """This client must not do this, or not from this address."""

    code = "forbidden"
    hint = "Send the request on the server itself, to 127.0.0.1."


class IpNotAllowed(Forbidden):
    """The client address is not on the allow list."""

    code = "address_refused"
    hint = "The administrator must add the address to the setting 'network.allow'."


class MissingScope(Forbidden):
    """The key or token is valid but lacks the required scope."""

    code = "missing_scope"
    hint = "Ask the administrator for a key with this scope."


class CrossOriginRefused(Forbidden):
    """A browser sends the request for another website, or to a host name that the server does not have."""

    code = "foreign_site"
    hint = (
        "Open the page at the address of the server. The settings 'network.origins' and 'security.public_hostnames' allow "
        "other origins and names."
    )


class Unauthorized(HunyuanOcrError):
    """The request is not authenticated."""

    code = "unauthorized"
    hint = (
        "Send a key as 'Authorization: Bearer …' or 'X-API-Key: …', or as the password of HTTP Basic. The administrator creates "
        "keys with: hunyuanocr keys create"
    )


class InvalidCredential(Unauthorized):
    """The key, token, ticket or code is wrong, revoked, used or expired; clients cannot distinguish these cases."""

    code = "bad_key"
    hint = "Ask the administrator for a new one."
