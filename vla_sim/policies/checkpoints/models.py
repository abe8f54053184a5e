"""The networks of the layouts, rebuilt from shapes; parameters are named as in the files. Loads torch, transformers.

Every network maps what a `Seen` holds to outputs (n, chunk, width), and keeps its memory in the tensors of a state.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from vla_sim.policies.checkpoints.hyper_parameters import HyperParameters
from vla_sim.policies.checkpoints.parts import SelectingResampler, Shapes, normalisation, width_of
from vla_sim.policies.checkpoints.spec import CheckpointSpec
from vla_sim.policies.models.backbones import Kosmos2Backbone
from vla_sim.policies.models.config import VlaConfig
from vla_sim.policies.models.hub import CLIPModel
from vla_sim.policies.models.text_batch import TextBatch

State = tuple[torch.Tensor, ...]

TANH_MLP = "linear relu linear relu linear relu linear"
HINTS = {
    "lstm_projection": " (the original creates this layer at its first step: a file saved before has none, and one "
    "loaded without it is driven by random numbers)",
    "kosmos2_projection": " (the original creates this layer at its first step)",
    "image_projection": " (the original creates this layer at its first step)",
    "clip_normalization": ' (trained without it? then set "normalisation": "none" in config.json)',
}


@dataclass(frozen=True)
class Seen:
    """What a network reads in one step, n rows.

    Attributes:
        pixels: by backbone, (n, 3, side, side), prepared.
        language: from the network's `encode_text`.
    """

    pixels: Mapping[str, torch.Tensor]
    language: TextBatch


@dataclass(frozen=True)
class Plan:
    """What a network is built from.

    Attributes:
        shapes: of the weights in the file.
        spec: the user's config.
        configs: transformers' configs by backbone.
        facts: what the file says beside the weights.
    """

    shapes: Shapes
    spec: CheckpointSpec
    configs: Mapping[str, Any]
    facts: HyperParameters

    def layers(self, usual: int) -> int:
        """Of the LSTM: as config.json or the file says, else as the users' code has them."""
        return self._said("lstm_layers") or usual

    def needed(self, name: str) -> int:
        """The window or the chunk, which the file or else the config must say; both must agree.

        Raises:
            ValueError: neither says it, or they differ, or the file contradicts itself.
        """
        found = self._said(name)
        if not found:
            raise ValueError(f"{name} is missing in config.json: the file does not say it")
        return found

    def _said(self, name: str) -> int:
        in_config = int(getattr(self.spec, name))
        if in_config:
            self.facts.agrees(name, in_config, "config.json")
        return in_config or self.facts.number(name)


class Network(nn.Module, ABC):
    """One layout's network.

    Attributes:
        width: numbers (or scores of classes) of one output.
        steps: consecutive outputs of one step.
    """

    width: int
    steps: int = 1

    @abstractmethod
    def forward(self, seen: Seen, state: State) -> tuple[torch.Tensor, State]:
        """Outputs (n, chunk, width) of one step, and the next state."""

    def encode_text(self, tokens: TextBatch) -> TextBatch:
        """What of texts can be computed beforehand, from "<backbone>.ids" and "<backbone>.mask"."""
        return tokens

    def initial_state(self, num_envs: int) -> State:
        """The state of envs that have seen nothing; first dimensions are the envs."""
        return ()


def _kosmos(plan: Plan) -> Kosmos2Backbone:
    config = VlaConfig(
        backbone="kosmos2",
        kosmos2=plan.configs["kosmos2"],
        prompt_ids=plan.spec.prompt_ids,
        context_length=plan.spec.context_length,
    )
    return Kosmos2Backbone(config)


class MobileVla(Network):
    """Kosmos-2's pooled image, repeated over the window as the original does; the text is never read."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        shapes, vision = plan.shapes, plan.configs["kosmos2"].vision_config
        kosmos2 = _kosmos(plan).kosmos2
        self.kosmos2 = nn.Module()
        self.kosmos2.vision_model = kosmos2.vision_model
        width = shapes.of("action_lstm.weight_ih_l0", 2)[1]
        same = width == vision.hidden_size and not shapes.has("image_projection")
        self.image_projection = nn.Identity() if same else shapes.linear("image_projection", vision.hidden_size)
        self.action_lstm = shapes.lstm("action_lstm", width, plan.layers(2))
        hidden = self.action_lstm.hidden_size
        self.action_head = shapes.chain("action_head", hidden, "linear relu drop linear relu drop linear")
        self.window = plan.needed("window")
        self.chunk = plan.needed("chunk")
        if self.chunk > self.window:
            raise ValueError(f"chunk must be at most window {self.window}, got {self.chunk}")
        self.width, self.steps = width_of(self.action_head), self.chunk

    def forward(self, seen: Seen, state: State) -> tuple[torch.Tensor, State]:
        """See `Network.forward`."""
        picture = self.kosmos2.vision_model(pixel_values=seen.pixels["kosmos2"]).pooler_output  # type: ignore[operator]
        features = self.image_projection(picture)
        hidden = self.action_lstm(features[:, None].expand(-1, self.window, -1))[0]
        return self.action_head(hidden[:, -self.chunk :]), state


class _Kosmos2Reader(Network):
    """What the networks share that read a text with Kosmos-2."""

    def _take_kosmos(self, plan: Plan) -> None:
        backbone = _kosmos(plan)
        self.kosmos2 = backbone.kosmos2
        self._inputs = backbone.inputs

    def _hidden(self, seen: Seen) -> tuple[torch.Tensor, torch.Tensor]:
        """Last hidden states (n, S, D) of image and text, and bool (n, S), which tokens exist."""
        inputs = self._inputs(seen.language["kosmos2.ids"], seen.language["kosmos2.mask"])
        picture = self.kosmos2.get_image_features(seen.pixels["kosmos2"]).pooler_output
        read = self.kosmos2.text_model(image_embeds=picture, use_cache=False, **inputs)
        return read.last_hidden_state, inputs["attention_mask"].bool()


class NormalisedHybrid(_Kosmos2Reader):
    """Kosmos-2 and CLIP with resampler and CLIP normalisation; its LSTM sees one step and keeps nothing.

    CLIP's image and text embeddings are laid side by side and cut again at the resampler's width, which lies behind
    the image's end: so some numbers of the text go into the resampler, as in the original.
    """

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        shapes, heads = plan.shapes, plan.spec.attention_heads
        self._take_kosmos(plan)
        text = plan.configs["kosmos2"].text_config
        self.clip = CLIPModel(plan.configs["clip"])
        embeddings = 2 * plan.configs["clip"].projection_dim
        width = shapes.of("vision_resampler.queries", 2)[1]
        self.cut = (
            shapes.of("vision_resampler.project.weight", 2)[1] if shapes.has("vision_resampler.project") else width
        )
        self.vision_resampler = SelectingResampler(shapes, "vision_resampler", self.cut, heads)
        none = plan.spec.normalisation == "none" and not shapes.has("clip_normalization")
        self.clip_normalization = nn.Identity() if none else normalisation(shapes, "clip_normalization", width, heads)
        fused = width + embeddings - self.cut
        self.feature_fusion = shapes.chain("feature_fusion", fused, "linear norm relu drop")
        self.kosmos2_projection: nn.Module = nn.Identity()
        if text.embed_dim != width or shapes.has("kosmos2_projection"):
            self.kosmos2.text_model.lm_head = nn.Linear(text.embed_dim, text.vocab_size, bias=False)
            self.kosmos2_projection = shapes.linear("kosmos2_projection", text.vocab_size)
        both = width_of(self.feature_fusion) + width
        self.lstm_projection = shapes.linear("lstm_projection", both)
        self.lstm = shapes.lstm("lstm", self.lstm_projection.out_features, plan.layers(2))
        self.action_head = shapes.chain("action_head", self.lstm.hidden_size, "linear relu drop linear")
        self.width = width_of(self.action_head)

    def encode_text(self, tokens: TextBatch) -> TextBatch:
        """CLIP's text embedding; Kosmos-2 reads the image first, so its tokens stay as they are."""
        read = self.clip.get_text_features(input_ids=tokens["clip.ids"]).pooler_output
        kept = {name: rows for name, rows in tokens.items() if name.startswith("kosmos2.")}
        return {**kept, "clip.text": nn.functional.normalize(read, dim=-1)}

    def forward(self, seen: Seen, state: State) -> tuple[torch.Tensor, State]:
        """See `Network.forward`."""
        picture = self.clip.get_image_features(pixel_values=seen.pixels["clip"]).pooler_output
        embeddings = torch.cat([nn.functional.normalize(picture, dim=-1), seen.language["clip.text"]], dim=-1)
        kept = self.vision_resampler.selected(embeddings[:, None, : self.cut])
        tokens = torch.stack([self.clip_normalization(row[None]).mean(dim=1)[0] for row in kept])
        kosmos = self.clip_normalization(self._kosmos_features(seen)[:, None])[:, 0]
        fused = self.feature_fusion(torch.cat([tokens, embeddings[:, self.cut :]], dim=-1))
        projected = self.lstm_projection(torch.cat([fused, kosmos], dim=-1))
        return self.action_head(self.lstm(projected[:, None])[0]), state

    def _kosmos_features(self, seen: Seen) -> torch.Tensor:
        hidden, mask = self._hidden(seen)
        weight = mask[..., None].to(hidden.dtype)
        mean = (hidden * weight).sum(dim=1) / weight.sum(dim=1)
        if isinstance(self.kosmos2_projection, nn.Identity):
            return mean
        # The original takes the mean of the words' scores; the scores are linear, so the mean may come first.
        return self.kosmos2_projection(self.kosmos2.text_model.lm_head(mean))


class TokenHybrid(_Kosmos2Reader):
    """Kosmos-2 and CLIP; its LSTM runs over the tokens of one image and keeps nothing between steps."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        shapes = plan.shapes
        self._take_kosmos(plan)
        vision, text = plan.configs["clip"].vision_config, plan.configs["kosmos2"].text_config
        self.clip = nn.Module()
        self.clip.vision_model = CLIPModel(plan.configs["clip"]).vision_model
        self.vision_resampler = SelectingResampler(
            shapes, "vision_resampler", vision.hidden_size, plan.spec.attention_heads
        )
        self.tokens, width = shapes.of("vision_resampler.queries", 2)
        if text.embed_dim != width:
            raise ValueError(
                f"this file cannot drive: Kosmos-2 gives {text.embed_dim} numbers, the fusion takes {width}, and the "
                "original brings them together with a layer that it draws at random at every step and never saves"
            )
        self.feature_fusion = shapes.chain("feature_fusion", 2 * width, "linear norm gelu drop")
        self.lstm = shapes.lstm("lstm", width_of(self.feature_fusion), plan.layers(2))
        self.action_head = shapes.chain("action_head", self.lstm.hidden_size, "linear norm gelu drop linear")
        self.width = width_of(self.action_head)

    def forward(self, seen: Seen, state: State) -> tuple[torch.Tensor, State]:
        """See `Network.forward`."""
        # Behind the last layer and before the last norm, the class token in front: as the original takes it.
        patches = self.clip.vision_model(pixel_values=seen.pixels["clip"]).last_hidden_state  # type: ignore[operator]
        kept = self.vision_resampler.selected(patches)
        hidden, mask = self._hidden(seen)
        last = [self._over(tokens, row[here]) for tokens, row, here in zip(kept, hidden, mask, strict=True)]
        return self.action_head(torch.stack(last))[:, None], state

    def _over(self, tokens: torch.Tensor, kosmos: torch.Tensor) -> torch.Tensor:
        """The LSTM's last output (hidden,) over one image's tokens."""
        stretched = nn.functional.interpolate(kosmos.T[None], size=self.tokens, mode="linear", align_corners=False)
        both = torch.cat([tokens, stretched[0].T[: len(tokens)]], dim=-1)
        return self.lstm(self.feature_fusion(both)[None])[0][0, -1]


class ClipMlp(Network):
    """CLIP's pooled image and text, two small layers."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        clip = CLIPModel(plan.configs["clip"])
        self.clip_vision, self.clip_text = clip.vision_model, clip.text_model
        config = plan.configs["clip"]
        inputs = config.vision_config.hidden_size + config.text_config.hidden_size
        self.fusion = plan.shapes.chain("fusion", inputs, "linear relu drop")
        self.action_head = plan.shapes.chain("action_head", width_of(self.fusion), "linear relu drop linear")
        self.width = width_of(self.action_head)

    def encode_text(self, tokens: TextBatch) -> TextBatch:
        """CLIP's pooled text; padding lies behind the end token, where nothing looks."""
        return {"clip.text": self.clip_text(input_ids=tokens["clip.ids"]).pooler_output}

    def forward(self, seen: Seen, state: State) -> tuple[torch.Tensor, State]:
        """See `Network.forward`."""
        picture = self.clip_vision(pixel_values=seen.pixels["clip"]).pooler_output
        fused = self.fusion(torch.cat([picture, seen.language["clip.text"]], dim=1))
        return self.action_head(fused)[:, None], state


class _TanhHead(nn.Module):
    """RoboVLMs' head of numbers."""

    def __init__(self, mlp: nn.Sequential) -> None:
        super().__init__()
        self.mlp = mlp

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.mlp(x).tanh()


class RoboVlms(Network):
    """Kosmos-2 with an action token behind the text, an LSTM over the last `window` action tokens.

    Its input is `<s> [image] text </s> padding [action token] last`: the action token stands before the last place
    of the padded text, so the length that texts are padded to (`context_length`) moves it, as in the original.
    State: the tokens' features (n, window, D) from the left, and how many there are (n,).
    """

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        shapes, spec = plan.shapes, plan.spec
        self.kosmos2 = _kosmos(plan).kosmos2
        width = plan.configs["kosmos2"].text_config.embed_dim
        shapes.expect("action_token", shapes.of("action_token", 1)[0], width)
        self.action_token = nn.Parameter(torch.zeros(width))
        self.act_head = nn.Module()
        rnn = shapes.lstm("act_head.rnn", width, plan.layers(4))
        self.act_head.rnn = rnn
        self.width = len(spec.action.outputs)
        if shapes.has("act_head.logits"):
            self.act_head.logits = shapes.linear("act_head.logits", rnn.hidden_size)
            width, self.width = self.act_head.logits.out_features, len(spec.action.classes)
            if not self.width:
                raise ValueError("action.classes is missing: this network picks classes, say what each one drives")
        else:
            mlp = shapes.chain("act_head.velocities.mlp", rnn.hidden_size, TANH_MLP)
            self.act_head.velocities, width = _TanhHead(mlp), width_of(mlp)
            if spec.action.classes:
                raise ValueError("action.classes must be left out: this network gives numbers, not classes")
        if width % self.width:
            raise ValueError(f"the network gives {width} numbers, no multiple of the {self.width} that action says")
        self.steps = width // self.width
        self.window = plan.needed("window")

    def initial_state(self, num_envs: int) -> State:
        """Nothing seen."""
        history = self.action_token.new_zeros(num_envs, self.window, len(self.action_token))
        return history, torch.zeros(num_envs, dtype=torch.int64)

    def forward(self, seen: Seen, state: State) -> tuple[torch.Tensor, State]:
        """See `Network.forward`."""
        history, count = state
        history = torch.where((count == self.window)[:, None, None], history.roll(-1, dims=1), history)
        now = count.clamp(max=self.window - 1)
        here = (torch.arange(self.window) == now[:, None])[..., None]
        history = torch.where(here, self._features(seen)[:, None], history)
        # From the left of the window each time: what the original carries on until the window is full is the same.
        hidden = self.act_head.rnn(history)[0][torch.arange(len(now)), now]  # type: ignore[operator]
        last: Any = getattr(self.act_head, "logits", None) or self.act_head.velocities
        return last(hidden).unflatten(-1, (-1, self.width)), (history, now + 1)

    def _features(self, seen: Seen) -> torch.Tensor:
        """Last hidden states (n, D) at the action token."""
        ids, mask = seen.language["kosmos2.ids"], seen.language["kosmos2.mask"]
        text_model = self.kosmos2.text_model
        words = text_model.model.embed_tokens(ids)
        picture = self.kosmos2.get_image_features(seen.pixels["kosmos2"]).pooler_output
        action = self.action_token.expand(len(ids), 1, -1)
        embeds = torch.cat([words[:, :1], picture, words[:, 1:-1], action, words[:, -1:]], dim=1)
        there = torch.ones(len(ids), picture.shape[1], dtype=torch.bool)
        attended = torch.cat([mask[:, :1], there, mask[:, 1:-1], there[:, :1], mask[:, -1:]], dim=1)
        read = text_model(inputs_embeds=embeds, attention_mask=attended.long(), use_cache=False)
        return read.last_hidden_state[:, -2]


NETWORKS: dict[str, type[Network]] = {
    "mobile_vla": MobileVla,
    "normalised_hybrid": NormalisedHybrid,
    "token_hybrid": TokenHybrid,
    "clip_mlp": ClipMlp,
    "robovlms": RoboVlms,
}
