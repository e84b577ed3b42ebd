"""Certificates for 127.0.0.1, made by openssl as docs/network.md says."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path


def certificate(cert: Path, key: Path) -> ssl.SSLContext:
    """Make both files; a context that trusts nothing else."""
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "825",
            "-subj",
            "/CN=ocr",
            "-addext",
            "subjectAltName=IP:127.0.0.1,DNS:localhost",
            "-keyout",
            str(key),
            "-out",
            str(cert),
        ],
        check=True,
        capture_output=True,
        timeout=60,
    )
    return ssl.create_default_context(cafile=str(cert))
