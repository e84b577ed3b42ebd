"""The health check of the images: exit status 0 where the appliance in this container answers. Standard library only."""

import os
import ssl
import sys
import tomllib
import urllib.error
import urllib.request
from pathlib import Path

_SECONDS = 8


def main() -> int:
    """Any answer but a failure of the server's says that it is alive; who may ask is another question."""
    port = _setting("server", "api_port") or "8000"
    scheme, context = "http", None
    if _setting("network", "tls_cert"):
        scheme, context = "https", ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # it asks itself, by a name that no certificate has
    try:
        with urllib.request.urlopen(f"{scheme}://127.0.0.1:{port}/health", timeout=_SECONDS, context=context):  # noqa: S310
            return 0
    except urllib.error.HTTPError as e:
        return int(e.code >= 500)
    except OSError:
        return 1


def _setting(group: str, name: str) -> str:
    """As the appliance finds it: in the environment, else in the file that HUNYUANOCR_CONFIG names. Empty where it is not set."""
    given = os.environ.get(f"HUNYUANOCR_{group}__{name}".upper())
    if given is None and (file := os.environ.get("HUNYUANOCR_CONFIG")):
        given = tomllib.loads(Path(file).read_text(encoding="utf-8")).get(group, {}).get(name)
    return "" if given is None else str(given)


if __name__ == "__main__":
    sys.exit(main())
