"""The parts of transformers that the models use, imported in the one order that works.

transformers imports torchvision for its image utilities; `vla_sim.policies.torchvision_shim` says why that needs
help beside a CPU-only torch. All other modules of this package take these names from here.
"""

from vla_sim.policies.torchvision_shim import make_torchvision_importable

make_torchvision_importable()

from transformers import (  # noqa: E402
    CLIPConfig,
    CLIPModel,
    GPT2Config,
    GPT2Model,
    Kosmos2Config,
    Kosmos2Model,
)
from transformers import initialization as init  # noqa: E402

__all__ = [
    "CLIPConfig",
    "CLIPModel",
    "GPT2Config",
    "GPT2Model",
    "Kosmos2Config",
    "Kosmos2Model",
    "init",
]
