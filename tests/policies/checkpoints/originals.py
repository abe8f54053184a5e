"""Straightforward networks in the layouts of the users' training code: what their files hold, and what they compute.

Written apart from the package and without its parts, so that both can be held against each other. A batch is always
one image, as on the robot.
"""

from itertools import pairwise

import torch
from torch import nn

from vla_sim.policies.models.hub import CLIPModel, Kosmos2Model

BOS, IMAGE, IMAGE_END = 300, 301, 302
PROMPT_IDS = {"bos": BOS, "image": IMAGE, "image_end": IMAGE_END}


def kosmos_hidden(kosmos, pixels, ids):
    """Last hidden states (1, S, D) of `<s> <image> image </image> text`; ids (L,) without padding."""
    queries = kosmos.config.latent_query_num
    whole = torch.cat([torch.tensor([BOS, IMAGE] + [IMAGE] * queries + [IMAGE_END]), ids])[None]
    here = torch.zeros_like(whole)
    here[:, 2 : 2 + queries] = 1
    read = kosmos(pixel_values=pixels, input_ids=whole, image_embeds_position_mask=here)
    return read.last_hidden_state


class Resampler(nn.Module):
    """Queries attend to tokens; a selector keeps the important ones."""

    def __init__(self, inputs, width, tokens, heads):
        super().__init__()
        self.query_tokens = nn.Parameter(torch.randn(tokens, width))
        self.cross_attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.ffn = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Dropout(0.1), nn.Linear(2 * width, width))
        self.input_proj = nn.Linear(inputs, width) if inputs != width else nn.Identity()
        self.output_proj = nn.Linear(width, width)
        self.token_selector = nn.Sequential(
            nn.Linear(width, width // 2), nn.ReLU(), nn.Linear(width // 2, 1), nn.Sigmoid()
        )

    def forward(self, features):
        features = self.input_proj(features)
        queries = self.query_tokens[None]
        x = self.norm1(queries + self.cross_attention(queries, features, features)[0])
        x = self.output_proj(self.norm2(x + self.ffn(x)))
        scores = self.token_selector(x)[0, :, 0]
        keep = min(max(int((scores > 0.5).sum()), 32), len(scores))
        if keep == len(scores):
            return x
        return x[:, scores.sort(descending=True).indices[:keep]]


class MobileNormalisation(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.feature_enhancement = nn.Sequential(nn.Linear(width, width // 2), nn.ReLU(), nn.Linear(width // 2, width))

    def forward(self, x):
        x = self.norm(x)
        return self.feature_enhancement(x) + x


class PlainNormalisation(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.scale, self.shift = nn.Parameter(torch.rand(width)), nn.Parameter(torch.rand(width))

    def forward(self, x):
        mean, variance = x.mean(-1, keepdim=True), x.var(-1, keepdim=True, unbiased=False)
        return (x - mean) / torch.sqrt(variance + 1e-6) * self.scale + self.shift


class AdaptiveNormalisation(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.base_norm = PlainNormalisation(width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.feature_transform = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Dropout(0.1), nn.Linear(2 * width, width)
        )
        self.layer_norm = nn.LayerNorm(width)

    def forward(self, x):
        x = self.base_norm(x)
        x = x + self.attention(x, x, x)[0]
        return self.layer_norm(x + self.feature_transform(x))


class MobileVla(nn.Module):
    """Actions (chunk, A)."""

    def __init__(self, kosmos2, clip, actions=3, width=20, hidden=12, window=8, chunk=2):
        super().__init__()
        self.kosmos = Kosmos2Model(kosmos2)
        self.action_lstm = nn.LSTM(width, hidden, 2, batch_first=True, dropout=0.1)
        self.action_head = nn.Sequential(
            *(nn.Linear(hidden, 10), nn.ReLU(), nn.Dropout(0.1)),
            *(nn.Linear(10, 6), nn.ReLU(), nn.Dropout(0.1), nn.Linear(6, actions)),
        )
        self.image_projection = nn.Linear(kosmos2.vision_config.hidden_size, width)
        self.window, self.chunk = window, chunk

    def forward(self, pixels, kosmos_ids, clip_ids):
        picture = self.image_projection(self.kosmos.vision_model(pixel_values=pixels["kosmos2"]).pooler_output)
        hidden, _ = self.action_lstm(torch.stack([picture] * self.window, dim=1))
        return torch.stack([self.action_head(hidden[0, step]) for step in range(-self.chunk, 0)])


class NormalisedHybrid(nn.Module):
    def __init__(self, kosmos2, clip, kind="mobile", actions=2, width=24, tokens=40, hidden=10, heads=4):
        super().__init__()
        self.clip_model = CLIPModel(clip)
        self.kosmos2_model = Kosmos2Model(kosmos2)
        self.kosmos2_model.text_model.lm_head = nn.Linear(
            kosmos2.text_config.embed_dim, kosmos2.text_config.vocab_size, bias=False
        )
        self.kosmos2_model.text_model.lm_head.weight = self.kosmos2_model.text_model.model.embed_tokens.weight
        self.vision_resampler = Resampler(width, width, tokens, heads)
        normal = {"mobile": lambda: MobileNormalisation(width), "adaptive": lambda: AdaptiveNormalisation(width, heads)}
        self.clip_normalization = normal[kind]() if kind else None
        rest = 2 * clip.projection_dim - width
        self.feature_fusion = nn.Sequential(
            nn.Linear(width + rest, width), nn.LayerNorm(width), nn.ReLU(), nn.Dropout(0.1)
        )
        self.lstm = nn.LSTM(hidden, hidden, 2, batch_first=True, dropout=0.1)
        self.action_head = nn.Sequential(
            nn.Linear(hidden, hidden // 2), nn.ReLU(), nn.Dropout(0.1), nn.Linear(hidden // 2, actions)
        )
        self.kosmos2_projection = nn.Linear(kosmos2.text_config.vocab_size, width)
        self.lstm_projection = nn.Linear(2 * width, hidden)
        self.width = width

    def forward(self, pixels, kosmos_ids, clip_ids):
        read = self.clip_model(pixel_values=pixels["clip"], input_ids=clip_ids[None])
        both = torch.cat([read.image_embeds, read.text_embeds], dim=-1)
        hidden = kosmos_hidden(self.kosmos2_model, pixels["kosmos2"], kosmos_ids)
        kosmos = self.kosmos2_projection(self.kosmos2_model.text_model.lm_head(hidden).mean(dim=1))
        tokens = self.vision_resampler(both[:, : self.width].unsqueeze(1))
        if self.clip_normalization is not None:
            tokens = self.clip_normalization(tokens)
            kosmos = self.clip_normalization(kosmos.unsqueeze(1)).squeeze(1)
        fused = self.feature_fusion(torch.cat([tokens.mean(dim=1), both[:, self.width :]], dim=-1))
        projected = self.lstm_projection(torch.cat([fused, kosmos], dim=-1))
        return self.action_head(self.lstm(projected.unsqueeze(1))[0][:, -1])


class TokenHybrid(nn.Module):
    def __init__(self, kosmos2, clip, actions=2, tokens=40, hidden=10, heads=4):
        super().__init__()
        width = kosmos2.text_config.embed_dim
        self.clip_model, self.kosmos2_model = CLIPModel(clip), Kosmos2Model(kosmos2)
        self.vision_resampler = Resampler(clip.vision_config.hidden_size, width, tokens, heads)
        self.feature_fusion = nn.Sequential(
            nn.Linear(2 * width, width), nn.LayerNorm(width), nn.GELU(), nn.Dropout(0.1)
        )
        self.lstm = nn.LSTM(width, hidden, 2, batch_first=True, dropout=0.1)
        self.action_head = nn.Sequential(
            nn.Linear(hidden, hidden // 2),
            nn.LayerNorm(hidden // 2),
            nn.GELU(),
            nn.Dropout(0.1),
            nn.Linear(hidden // 2, actions),
        )
        self.tokens = tokens

    def forward(self, pixels, kosmos_ids, clip_ids):
        patches = self.clip_model.vision_model(pixel_values=pixels["clip"]).last_hidden_state
        hidden = kosmos_hidden(self.kosmos2_model, pixels["kosmos2"], kosmos_ids)
        kept = self.vision_resampler(patches)
        hidden = nn.functional.interpolate(hidden.transpose(1, 2), size=self.tokens, mode="linear").transpose(1, 2)
        least = min(kept.shape[1], hidden.shape[1])
        fused = self.feature_fusion(torch.cat([kept[:, :least], hidden[:, :least]], dim=-1))
        return self.action_head(self.lstm(fused)[0][:, -1])


class ClipMlp(nn.Module):
    def __init__(self, kosmos2, clip, actions=2):
        super().__init__()
        whole = CLIPModel(clip)
        self.clip_vision, self.clip_text = whole.vision_model, whole.text_model
        inputs = clip.vision_config.hidden_size + clip.text_config.hidden_size
        self.fusion = nn.Sequential(nn.Linear(inputs, 14), nn.ReLU(), nn.Dropout(0.2))
        self.action_head = nn.Sequential(nn.Linear(14, 7), nn.ReLU(), nn.Dropout(0.2), nn.Linear(7, actions))

    def forward(self, pixels, kosmos_ids, clip_ids):
        picture = self.clip_vision(pixel_values=pixels["clip"]).pooler_output
        text = self.clip_text(input_ids=clip_ids[None]).pooler_output
        return self.action_head(self.fusion(torch.cat([picture, text], dim=1)))


class TanhHead(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        sizes = [inputs, 16, 12, 8]
        layers = [m for a, b in pairwise(sizes) for m in (nn.Linear(a, b), nn.ReLU())]
        self.mlp = nn.Sequential(*layers, nn.Linear(8, outputs), nn.Tanh())

    def forward(self, x):
        return self.mlp(x)


class RoboVlms(nn.Module):
    """Remembers as RoboVLMs' head does: carries its state until the window is full, then starts anew from the window.

    Args:
        classes: 0: a tanh head of `actions` numbers and `chunk` steps; else scores of that many classes.
    """

    def __init__(self, kosmos2, clip, actions=2, chunk=2, classes=0, window=3, hidden=10):
        super().__init__()
        width = kosmos2.text_config.embed_dim
        self.backbone = Kosmos2Model(kosmos2)
        self.action_token = nn.Parameter(torch.randn(width))
        self.act_head = nn.Module()
        self.act_head.rnn = nn.LSTM(width, hidden, 4, batch_first=True)
        if classes:
            self.act_head.logits = nn.Linear(hidden, chunk * classes)
            self.act_head.register_buffer("class_weights_tensor", torch.ones(classes))
        else:
            self.act_head.velocities = TanhHead(hidden, chunk * actions)
        self.window, self.chunk = window, chunk
        self.history, self.state = [], None

    def forward(self, pixels, kosmos_ids, clip_ids):
        """kosmos_ids: padded with 0."""
        kosmos = self.backbone
        words = kosmos.text_model.model.embed_tokens(kosmos_ids)
        picture = kosmos.get_image_features(pixels["kosmos2"]).pooler_output[0]
        embeds = torch.cat([words[:1], picture, words[1:-1], self.action_token[None], words[-1:]])
        there = torch.cat(
            [torch.ones(1), torch.ones(len(picture)), kosmos_ids[1:-1] != 0, torch.ones(1), kosmos_ids[-1:] != 0]
        )
        read = kosmos.text_model(inputs_embeds=embeds[None], attention_mask=there[None].long(), use_cache=False)
        feature = read.last_hidden_state[:, -2:-1]
        self.history.append(feature)
        if len(self.history) <= self.window:
            out, self.state = self.act_head.rnn(feature, self.state)
        else:
            self.history = self.history[-self.window :]
            out, _ = self.act_head.rnn(torch.cat(self.history, dim=1))
        last = self.act_head.logits if hasattr(self.act_head, "logits") else self.act_head.velocities
        return last(out[:, -1]).view(self.chunk, -1)
