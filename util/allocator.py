"""Keeping freed memory in the process, which makes training on the CPU up to three times as fast."""

import ctypes
import os
import sys

# From glibc's malloc.h: parameter numbers, which never change, and our values.
SETTINGS = {
    -4: 0,  # M_MMAP_MAX: no block gets a mapping of its own, which would be unmapped when it is freed
    -1: -1,  # M_TRIM_THRESHOLD: the free end of the heap is never given back
    -2: 2**28,  # M_TOP_PAD: the heap grows by so much at a time [bytes]
}


def keep_freed_memory() -> bool:
    """Tell glibc to keep what is freed for the next allocation, instead of giving it back to the system.

    A training step allocates and frees the same large tensors again and again. By default glibc gives each back,
    and the system has to map and zero every page of the next one: page faults took up to two thirds of the time of
    a step on the CPU. The price is that the process stays as large as it once was. Tensors on a GPU are not
    concerned.

    Whoever has set ``MALLOC_*`` or ``GLIBC_TUNABLES`` in the environment has decided, and nothing is changed.
    Under another allocator (jemalloc, tcmalloc) it has no effect.

    Returns:
        Whether it was set; False also where there is no glibc (musl, macOS, Windows).
    """
    if not sys.platform.startswith("linux") or _user_has_decided():
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is None:
        return False
    accepted = [mallopt(parameter, value) for parameter, value in SETTINGS.items()]
    return all(accepted)


def _user_has_decided() -> bool:
    return any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ)
