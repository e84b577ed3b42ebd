"""An archive with everything the appliance needs on a machine without a network; `install.py` installs it there."""

from hunyuanocr.bundle.archive import BundleFailed, check_archive
from hunyuanocr.bundle.build import BundleInfo, BundleSpec, build

__all__ = ["BundleFailed", "BundleInfo", "BundleSpec", "build", "check_archive"]
