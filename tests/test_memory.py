"""What the C library alone does not see to: few heaps, and what was freed goes back to the system."""

import subprocess
import sys

import pytest

HEAPS = """
import ctypes, sys, threading
from hunyuanocr.malloc import limit_malloc_arenas

if sys.argv[1] == "shared":
    limit_malloc_arenas()
libc = ctypes.CDLL(None)
if not hasattr(libc, "mallinfo2"):
    print("another C library")
    raise SystemExit
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
together = threading.Barrier(13)

def work():
    libc.malloc(50_000)
    together.wait()

for _ in range(12):
    threading.Thread(target=work).start()
together.wait()
libc.malloc_info.argtypes = [ctypes.c_int, ctypes.c_void_p]
libc.fdopen.restype = ctypes.c_void_p
libc.malloc_info(0, libc.fdopen(1, b"w"))
libc.fflush(None)
"""

PROGRAM = """
import ctypes, sys
import psutil
from hunyuanocr.malloc import trim_memory

def megabytes():
    return psutil.Process().memory_info().rss / 1e6

libc = ctypes.CDLL(None)
if not hasattr(libc, "malloc_trim"):
    print("another C library")
    raise SystemExit
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
before = megabytes()
blocks = [libc.malloc(50_000) for _ in range(4000)]
for block in blocks:
    ctypes.memset(block, 1, 50_000)
taken = megabytes()
for n, block in enumerate(blocks):
    if n % 100 < 99:  # one of a hundred stays: nothing lies at the end of the heap
        libc.free(block)
freed = megabytes()
trim_memory()
print(before, taken, freed, megabytes())
"""


def heaps(mode: str) -> int:
    said = subprocess.run([sys.executable, "-c", HEAPS, mode], capture_output=True, text=True, timeout=120, check=True).stdout
    if "another" in said:
        pytest.skip("the C library is not glibc; run it on Debian, Ubuntu, Fedora …")
    return said.count("<heap ")


def test_threads_share_two_heaps() -> None:
    assert heaps("shared") <= 2 < heaps("own")


def test_freed_memory_goes_back() -> None:
    said = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120, check=True).stdout
    if "another" in said:
        pytest.skip("the C library is not glibc; run it on Debian, Ubuntu, Fedora …")
    before, taken, freed, given_back = map(float, said.split())
    assert taken > before + 150
    assert freed > before + 150, "the C library has kept it"
    assert given_back < before + 30
