"""Vision resamplers: any number of patch tokens in, a fixed number of learned queries out. Loads torch."""

from __future__ import annotations

import math

import torch
from torch import nn

from vla_sim.policies.models.specs import ResamplerSpec

QUERY_STD = 0.02


def build_resampler(spec: ResamplerSpec, inputs: int) -> nn.Module:
    """The resampler of a config for tokens of width `inputs`."""
    return {"mobile": MobileResampler, "perceiver": PerceiverResampler}[spec.kind](spec, inputs)


def _feed_forward(width: int, ratio: int, *, dropout: float = 0.0, bias: bool = True) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(width, ratio * width, bias=bias),
        nn.GELU(),
        nn.Dropout(dropout),
        nn.Linear(ratio * width, width, bias=bias),
    )


class MobileResampler(nn.Module):
    """The users' resampler: one cross-attention layer, norms after the residuals, feed-forward, output layer.

    The input is projected only where its width differs, so that a pretrained width passes through as it is.
    """

    def __init__(self, spec: ResamplerSpec, inputs: int) -> None:
        super().__init__()
        width = spec.width
        self.project = nn.Identity() if inputs == width else nn.Linear(inputs, width)
        self.queries = nn.Parameter(torch.randn(spec.queries, width) * QUERY_STD)
        self.attention = nn.MultiheadAttention(width, spec.heads, dropout=spec.dropout, batch_first=True)
        self.norm_attention, self.norm_out = nn.LayerNorm(width), nn.LayerNorm(width)
        self.feed_forward = _feed_forward(width, spec.ratio, dropout=spec.dropout)
        self.dropout = nn.Dropout(spec.dropout)
        self.out = nn.Linear(width, width)
        # Logarithm of how far a placed query looks, in shares of the image's side; learned.
        self.log_reach = nn.Parameter(torch.tensor(math.log(spec.queries**-0.5))) if spec.placed else None

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """tokens: (n, P, inputs), any P; a square grid row by row for placed queries. Returns (n, queries, width)."""
        media = self.project(tokens)
        queries = self.queries.expand(len(tokens), -1, -1)
        nearness = None if self.log_reach is None else self._nearness(tokens.shape[1], self.log_reach)
        seen = self.attention(queries, media, media, need_weights=False, attn_mask=nearness)[0]
        x = self.norm_attention(queries + self.dropout(seen))
        x = self.norm_out(x + self.dropout(self.feed_forward(x)))
        return self.out(x)

    def _nearness(self, patches: int, log_reach: torch.Tensor) -> torch.Tensor:
        """What is added to the attention's logits, (queries, P): the log of a Gaussian about each query's place."""
        places, seen = _grid(len(self.queries)), _grid(patches)
        apart = torch.linalg.vector_norm(places[:, None] - seen[None], dim=-1).to(log_reach)
        return -0.5 * (apart * torch.exp(-log_reach)) ** 2


def _grid(cells: int) -> torch.Tensor:
    """Middles (cells, 2) of a square grid of cells in shares of its sides, row by row."""
    side = math.isqrt(cells)
    if side**2 != cells:
        raise ValueError(f"placed queries need a square number of patches, got {cells}")
    middles = (torch.arange(side) + 0.5) / side
    return torch.cartesian_prod(middles, middles)


class PerceiverResampler(nn.Module):
    """`depth` layers in which the latents attend to the patches and to themselves (Flamingo, arXiv 2204.14198)."""

    def __init__(self, spec: ResamplerSpec, inputs: int) -> None:
        super().__init__()
        self.project = nn.Identity() if inputs == spec.width else nn.Linear(inputs, spec.width)
        self.queries = nn.Parameter(torch.randn(spec.queries, spec.width) * QUERY_STD)
        self.attentions = nn.ModuleList(_PerceiverAttention(spec) for _ in range(spec.depth))
        self.feed_forwards = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(spec.width), _feed_forward(spec.width, spec.ratio, bias=False))
            for _ in range(spec.depth)
        )
        self.norm = nn.LayerNorm(spec.width)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """tokens: (n, P, inputs), any P. Returns (n, queries, width)."""
        media = self.project(tokens)
        latents = self.queries.expand(len(tokens), -1, -1)
        for attention, feed_forward in zip(self.attentions, self.feed_forwards, strict=True):
            latents = latents + attention(media, latents)
            latents = latents + feed_forward(latents)
        return self.norm(latents)


class _PerceiverAttention(nn.Module):
    """Latents ask; patches and latents answer."""

    def __init__(self, spec: ResamplerSpec) -> None:
        super().__init__()
        inner = spec.heads * spec.head_width
        self.heads = spec.heads
        self.norm_media, self.norm_latents = nn.LayerNorm(spec.width), nn.LayerNorm(spec.width)
        self.to_query = nn.Linear(spec.width, inner, bias=False)
        self.to_key_value = nn.Linear(spec.width, 2 * inner, bias=False)
        self.to_out = nn.Linear(inner, spec.width, bias=False)

    def forward(self, media: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
        """media: (n, P, width); latents: (n, queries, width), also what is returned."""
        latents = self.norm_latents(latents)
        answering = torch.cat([self.norm_media(media), latents], dim=1)
        query, (key, value) = self.to_query(latents), self.to_key_value(answering).chunk(2, dim=-1)
        split = [part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (query, key, value)]
        mixed = nn.functional.scaled_dot_product_attention(*split)
        return self.to_out(mixed.transpose(1, 2).flatten(2))
