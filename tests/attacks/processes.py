"""Where the programs of these tests start."""

from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
