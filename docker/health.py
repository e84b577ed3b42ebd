"""The health check of the images: exit status 0 where the appliance in this container answers. Standard library only."""

import os
import ssl
import sys
import urllib.error
import urllib.request

_SECONDS = 8


def main() -> int:
    """Any answer but a failure of the server's says that it is alive; who may ask is another question."""
    port = os.environ.get("HUNYUANOCR_SERVER__API_PORT", "8000")
    scheme, context = "http", None
    if os.environ.get("HUNYUANOCR_NETWORK__TLS_CERT"):
        scheme, context = "https", ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # it asks itself, by a name that no certificate has
    try:
        with urllib.request.urlopen(f"{scheme}://127.0.0.1:{port}/health", timeout=_SECONDS, context=context):  # noqa: S310
            return 0
    except urllib.error.HTTPError as e:
        return int(e.code >= 500)
    except OSError:
        return 1


if __name__ == "__main__":
    sys.exit(main())
