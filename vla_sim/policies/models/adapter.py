"""Between a backbone and the fusion: optional resampler, then optional normalisation. Loads torch and transformers."""

from __future__ import annotations

from torch import nn

from vla_sim.policies.models.backbones import Features, Widths
from vla_sim.policies.models.config import VlaConfig
from vla_sim.policies.models.fusion import Stream, StreamWidths
from vla_sim.policies.models.normalisation import build_normalisation
from vla_sim.policies.models.resampler import build_resampler


class Adapter(nn.Module):
    """One backbone's features on their way to the fusion; normalisation is for CLIP's alone.

    Attributes:
        widths: of what comes out.
    """

    def __init__(self, config: VlaConfig, widths: Widths) -> None:
        super().__init__()
        spec = config.resampler_spec
        kind = config.normalisation if widths.name == "clip" else ""
        patches, vision = (widths.patches, widths.vision) if spec is None else (spec.queries, spec.width)
        self.resampler = nn.Identity() if spec is None else build_resampler(spec, widths.vision)
        self.norm_patches = build_normalisation(kind, vision)
        self.norm_picture = build_normalisation(kind, widths.image)
        self.norm_text = build_normalisation(kind, widths.text)
        self.widths = StreamWidths(patches, vision, widths.image, widths.text)

    def forward(self, features: Features) -> Stream:
        """From features to the fusion's input."""
        patches = self.norm_patches(self.resampler(features.patches))
        return Stream(patches, self.norm_picture(features.image), self.norm_text(features.text))
