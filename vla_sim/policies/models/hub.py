"""The parts of transformers that the models use, imported in the one order that works.

transformers imports torchvision for its image utilities; `vla_sim.policies.torchvision_shim` says why that needs
help beside a CPU-only torch. All other modules of this package take these names from here.
"""

from vla_sim.policies.torchvision_shim import make_torchvision_importable

make_torchvision_importable()

from collections.abc import Iterator  # noqa: E402
from contextlib import contextmanager  # noqa: E402

from huggingface_hub.errors import StrictDataclassError  # noqa: E402
from transformers import (  # noqa: E402
    CLIPConfig,
    CLIPModel,
    GPT2Config,
    GPT2Model,
    Kosmos2Config,
    Kosmos2Model,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers import initialization as init  # noqa: E402
from transformers.configuration_utils import SubConfigSpec  # noqa: E402
from transformers.utils import ModelOutput, logging  # noqa: E402

__all__ = [
    "CLIPConfig",
    "CLIPModel",
    "GPT2Config",
    "GPT2Model",
    "Kosmos2Config",
    "Kosmos2Model",
    "ModelOutput",
    "PreTrainedConfig",
    "PreTrainedModel",
    "StrictDataclassError",
    "SubConfigSpec",
    "init",
    "no_progress",
]


@contextmanager
def no_progress() -> Iterator[None]:
    """Without transformers' progress bars: what takes an instant here needs none."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
