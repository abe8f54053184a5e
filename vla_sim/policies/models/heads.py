"""Action heads: a memory over the features of an episode, then a codec. Loads torch; gpt2 loads transformers.

All heads keep one protocol, so a policy and a training need not know which one they hold. State is a tuple of tensors
whose first dimension is the env: an env is forgotten by putting its rows of `initial_state` in place.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from itertools import pairwise

import torch
from torch import nn

from vla_sim.policies.models.codecs import build_codec
from vla_sim.policies.models.specs import ActionSpec, HeadSpec

State = tuple[torch.Tensor, ...]


def build_head(feature_dim: int, head: HeadSpec, action: ActionSpec) -> ActionHead:
    """The head of a config."""
    kinds: dict[str, type[ActionHead]] = {
        "lstm": LstmHead,
        "mlp": MlpHead,
        "gpt2": Gpt2Head,
        "discrete": DiscreteHead,
        "window_lstm": WindowLstmHead,
    }
    return kinds[head.kind](feature_dim, head, action)


class ActionHead(nn.Module, ABC):
    """From features to actions: k = `horizon` actions of A components for each step, normalised to -1..1.

    Args:
        feature_dim: F, width of the features.
        head: sizes.
        action: components and horizon.
    """

    # Whether what was seen before the present step can change a decision.
    remembers = True

    def __init__(self, feature_dim: int, head: HeadSpec, action: ActionSpec) -> None:
        super().__init__()
        self.codec = build_codec(head, action)
        self.horizon = action.horizon
        self.dropout = nn.Dropout(head.dropout)
        self.out = nn.Linear(head.hidden, action.horizon * self.codec.width)

    @abstractmethod
    def initial_state(self, num_envs: int) -> State:
        """The state of envs that have seen nothing."""

    @abstractmethod
    def _remember(self, features: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        """Hidden (n, hidden) and next state, one step on."""

    @abstractmethod
    def _remember_all(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Hidden (n, T, hidden) of whole episodes, each from its initial state."""

    def step(self, features: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        """One step of every env: features (n, F) to normalised actions (n, k, A) and the next state."""
        outputs, state = self.step_outputs(features, state)
        return self.decode(outputs), state

    def step_outputs(self, features: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        """As `step`, with outputs (n, k, *codec.shape) that are not decoded yet."""
        hidden, state = self._remember(features, state)
        return self._outputs(hidden), state

    def sequence(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Outputs (n, T, k, *codec.shape) for `loss` and `decode`, all steps at once.

        Args:
            features: (n, T, F).
            mask: bool (n, T), which steps exist: each row is True from its start on without a gap.
        """
        return self._outputs(self._remember_all(features, mask))

    def decode(self, outputs: torch.Tensor) -> torch.Tensor:
        """Normalised actions (..., k, A) of outputs (..., k, *codec.shape)."""
        return self.codec.decode(outputs)

    def loss(self, outputs: torch.Tensor, target: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Mean loss of the actions that exist, a scalar; 0 where none does.

        Args:
            outputs: from `sequence`.
            target: normalised actions (n, T, k, A).
            mask: bool (n, T, k), which of them exist (see `chunking.chunk_targets`).
        """
        if outputs.shape[:3] != target.shape[:3] or mask.shape != target.shape[:3]:
            raise ValueError(
                f"outputs {tuple(outputs.shape)}, target {tuple(target.shape)} and mask {tuple(mask.shape)} "
                "must agree in (n, T, k)"
            )
        if not bool(mask.any()):
            return outputs.sum() * 0
        return self.codec.loss(outputs[mask], target[mask]).mean()

    def _outputs(self, hidden: torch.Tensor) -> torch.Tensor:
        return self.out(self.dropout(hidden)).unflatten(-1, (self.horizon, *self.codec.shape))


class LstmHead(ActionHead):
    """Recurrent over the episode: what has left the image is remembered.

    State: hidden and cell, (n, layers, hidden) each.
    """

    def __init__(self, feature_dim: int, head: HeadSpec, action: ActionSpec) -> None:
        super().__init__(feature_dim, head, action)
        between = head.dropout if head.layers > 1 else 0.0
        self.lstm = nn.LSTM(feature_dim, head.hidden, head.layers, batch_first=True, dropout=between)
        self._single_cell = head.single_cell

    def initial_state(self, num_envs: int) -> State:
        """Zeros."""
        zeros = self.out.weight.new_zeros(num_envs, self.lstm.num_layers, self.lstm.hidden_size)
        return zeros, zeros.clone()

    def _remember(self, features: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        if self._single_cell:
            return self._one_cell(features, state)
        # torch's LSTM wants layers first, the protocol envs first.
        inner = (state[0].transpose(0, 1).contiguous(), state[1].transpose(0, 1).contiguous())
        hidden, (h, c) = self.lstm(features[:, None], inner)
        return hidden[:, 0], (h.transpose(0, 1), c.transpose(0, 1))

    def _one_cell(self, features: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        """The same sums without packing the weights anew, which takes longer than the step itself."""
        lstm = self.lstm
        weights = (lstm.weight_ih_l0, lstm.weight_hh_l0, lstm.bias_ih_l0, lstm.bias_hh_l0)
        inner = (state[0][:, 0], state[1][:, 0])
        hidden, cell = torch._VF.lstm_cell(features, inner, *weights)  # type: ignore[attr-defined, arg-type]
        return hidden, (hidden[:, None], cell[:, None])

    def _remember_all(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return self.lstm(features)[0]


class DiscreteHead(LstmHead):
    """An LSTM that picks classes instead of numbers: the nine headings, or a bin for each component."""


class MlpHead(ActionHead):
    """Sees one step at a time. State: nothing."""

    remembers = False

    def __init__(self, feature_dim: int, head: HeadSpec, action: ActionSpec) -> None:
        super().__init__(feature_dim, head, action)
        widths = [feature_dim] + [head.hidden] * head.layers
        layers = [nn.Sequential(nn.Linear(inputs, outputs), nn.ReLU()) for inputs, outputs in pairwise(widths)]
        self.layers = nn.Sequential(*layers)

    def initial_state(self, num_envs: int) -> State:
        """Nothing."""
        return ()

    def _remember(self, features: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        return self.layers(features), state

    def _remember_all(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return self.layers(features)


class WindowHead(ActionHead):
    """Over the last `window` steps. State: those steps' projected features (n, window, hidden), and how many.

    The history starts at the left of the window and moves on once it is full. What lies to the right of the present
    step never counts, for memory runs from left to right; so no padding mask is needed. A whole episode is computed
    window by window, which costs `window` times as much as one pass, but gives what stepping gives.
    """

    def __init__(self, feature_dim: int, head: HeadSpec, action: ActionSpec) -> None:
        super().__init__(feature_dim, head, action)
        self.window = head.window
        self.project = nn.Linear(feature_dim, head.hidden)

    @abstractmethod
    def _over(self, history: torch.Tensor) -> torch.Tensor:
        """Hidden (m, window, hidden) of histories (m, window, hidden), each step from itself and those before it."""

    def initial_state(self, num_envs: int) -> State:
        """An empty history."""
        weight = self.out.weight
        history = weight.new_zeros(num_envs, self.window, self.project.out_features)
        return history, torch.zeros(num_envs, dtype=torch.int64, device=weight.device)

    def _remember(self, features: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        history, count = state
        full = (count == self.window)[:, None, None]
        history = torch.where(full, history.roll(-1, dims=1), history)
        now = count.clamp(max=self.window - 1)
        here = torch.arange(self.window, device=count.device) == now[:, None]
        history = torch.where(here[..., None], self.project(features)[:, None], history)
        return self._read(history, now), (history, now + 1)

    def _remember_all(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        num_envs, steps = features.shape[:2]
        now = torch.arange(steps, device=features.device)
        first = (now - self.window + 1).clamp(min=0)
        index = (first[:, None] + torch.arange(self.window, device=features.device)).clamp(max=steps - 1)
        # Only steps that exist: beside episodes, single images are mostly padding.
        read = self._read(self.project(features)[:, index][mask], (now - first).expand(num_envs, -1)[mask])
        return read.new_zeros(num_envs, steps, read.shape[-1]).masked_scatter(mask[..., None], read)

    def _read(self, history: torch.Tensor, now: torch.Tensor) -> torch.Tensor:
        """Hidden (m, hidden) at the present step `now` (m,) of histories (m, window, hidden)."""
        return self._over(history)[torch.arange(len(now), device=now.device), now]


class WindowLstmHead(WindowHead):
    """An LSTM that starts anew at the left of the window, as the users' models with a window of eight do."""

    def __init__(self, feature_dim: int, head: HeadSpec, action: ActionSpec) -> None:
        super().__init__(feature_dim, head, action)
        between = head.dropout if head.layers > 1 else 0.0
        self.lstm = nn.LSTM(head.hidden, head.hidden, head.layers, batch_first=True, dropout=between)

    def _over(self, history: torch.Tensor) -> torch.Tensor:
        hidden: torch.Tensor = self.lstm(history)[0]
        return hidden


class Gpt2Head(WindowHead):
    """GPT-2, whose attention is causal."""

    def __init__(self, feature_dim: int, head: HeadSpec, action: ActionSpec) -> None:
        super().__init__(feature_dim, head, action)
        from vla_sim.policies.models.hub import GPT2Config, GPT2Model

        self.gpt2 = GPT2Model(
            GPT2Config(
                vocab_size=1,
                n_positions=head.window,
                n_embd=head.hidden,
                n_layer=head.layers,
                n_head=head.attention_heads,
                bos_token_id=0,
                eos_token_id=0,
                use_cache=False,
                resid_pdrop=head.dropout,
                embd_pdrop=head.dropout,
                attn_pdrop=head.dropout,
            )
        )

    def _over(self, history: torch.Tensor) -> torch.Tensor:
        hidden: torch.Tensor = self.gpt2(inputs_embeds=history, use_cache=False).last_hidden_state
        return hidden
