"""One archive with everything that the appliance needs on a machine without any network; `install.py` installs it there."""

from hunyuanocr.bundle.archive import BundleFailed, check_archive
from hunyuanocr.bundle.build import BundleInfo, BundleSpec, build

__all__ = ["BundleFailed", "BundleInfo", "BundleSpec", "build", "check_archive"]
