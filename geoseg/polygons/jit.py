"""How geoseg compiles a kernel: without the GIL, and kept on disk between processes."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

import numba

P = ParamSpec("P")
T = TypeVar("T")


def kernel(function: Callable[P, T]) -> Callable[P, T]:
    """Compile `function` with numba and keep the types it was written with.

    The machine code is cached beside the source; where that folder is read-only, in the user's
    cache folder; in `NUMBA_CACHE_DIR` if that is set. Where none of them can be written, every
    process compiles anew. A shared temporary folder would not do: numba's cache files are pickles.

    Numba recompiles when the kernel's own file changes and looks at no other, so a kernel calls
    only kernels of its file.
    """
    try:
        compiled = numba.njit(cache=True, nogil=True, error_model="numpy")(function)
    except RuntimeError:  # numba: "no locator available"
        compiled = numba.njit(nogil=True, error_model="numpy")(function)
    return cast("Callable[P, T]", compiled)
