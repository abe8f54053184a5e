"""Lets `import open_clip` work where torchvision was built for another torch than the one installed.

open_clip imports torchvision for transforms and FrozenBatchNorm2d, neither of which needs compiled code. With, say,
a CPU-only torch beside a torchvision built for CUDA the compiled library cannot be loaded, and `import torchvision`
then fails with "operator torchvision::nms does not exist": it attaches shape functions to operators that only that
library would define. We define the names of those operators (without any implementation), and the import works.

Nothing happens where torchvision matches its torch. This file can go once torchvision (seen in 0.28) asks
`_has_ops()` before `torch.library.register_fake`, as it does for its other operators.
"""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path
from typing import Any

# The operators that torchvision/_meta_registrations.py registers without asking whether they exist.
SCHEMAS = {name: f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor" for name in ("nms", "qnms")}


@functools.lru_cache(maxsize=1)
def make_torchvision_importable() -> Any:
    """Define what torchvision misses; call before the first `import open_clip`.

    Returns:
        What keeps the definitions alive, or None where none were needed. Cached, so it lives as long as the process.
    """
    import torch

    if _compiled_operators_load():
        return None
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name, schema in SCHEMAS.items():
        if not hasattr(torch.ops.torchvision, name):
            library.define(schema)
    return library


def _compiled_operators_load() -> bool:
    """Whether torchvision's compiled library fits this torch (or there is no torchvision to care for)."""
    import torch

    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return True
    libraries = [p for p in Path(spec.origin).parent.glob("_C*") if p.suffix in (".so", ".pyd", ".dylib")]
    try:
        for path in libraries:
            torch.ops.load_library(str(path))
    except OSError:
        return False
    return bool(libraries)
