import pytest
import torch

from vla_sim.policies.models.codecs import HEADINGS, BinCodec, HeadingCodec
from vla_sim.policies.models.heads import build_head
from vla_sim.policies.models.specs import ActionSpec, HeadSpec

KINDS = [
    {"kind": "lstm"},
    {"kind": "lstm", "layers": 2},
    {"kind": "mlp", "layers": 2},
    {"kind": "gpt2", "window": 3, "layers": 2, "attention_heads": 2},
    {"kind": "window_lstm", "window": 3},
    {"kind": "lstm", "codec": "laplace"},
    {"kind": "discrete"},
    {"kind": "gpt2", "window": 2, "codec": "bins", "bins": 5},
]


def make(kind, **action):
    torch.manual_seed(3)
    return build_head(6, HeadSpec(**{"hidden": 8, **kind}), ActionSpec(**action)).eval()


def driven(head, features):
    state = head.initial_state(len(features))
    steps = []
    for now in features.unbind(dim=1):
        actions, state = head.step(now, state)
        steps.append(actions)
    return torch.stack(steps, dim=1), state


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("horizon", [1, 3])
def test_stepping_gives_what_a_whole_sequence_gives(kind, horizon):
    head, features = make(kind, horizon=horizon), torch.randn(4, 7, 6)
    with torch.no_grad():
        expected = head.decode(head.sequence(features, torch.ones(4, 7, dtype=torch.bool)))
        torch.testing.assert_close(driven(head, features)[0], expected, atol=1e-5, rtol=0)
    assert expected.shape == (4, 7, horizon, 2)
    assert expected.abs().max() <= 1


@pytest.mark.parametrize("kind", KINDS)
def test_steps_that_do_not_exist_change_nothing_before_them(kind):
    head, features = make(kind), torch.randn(2, 5, 6)
    mask = torch.tensor([[True] * 5, [True, True, False, False, False]])
    other = torch.where(mask[..., None], features, 100.0)
    with torch.no_grad():
        torch.testing.assert_close(head.sequence(features, mask)[mask], head.sequence(other, mask)[mask])


@pytest.mark.parametrize("kind", KINDS)
def test_state_has_envs_first_and_envs_do_not_touch(kind):
    head, features = make(kind), torch.randn(3, 4, 6)
    with torch.no_grad():
        together, state = driven(head, features)
        alone, state_alone = driven(head, features[1:2])
    torch.testing.assert_close(together[1:2], alone)
    for part, one in zip(state, state_alone, strict=True):
        torch.testing.assert_close(part[1:2], one)


@pytest.mark.parametrize("kind", KINDS)
def test_only_heads_that_say_so_remember(kind):
    head, features = make(kind), torch.randn(1, 2, 6)
    other = torch.cat([features[:, :1] + 3, features[:, 1:]], dim=1)
    mask = torch.ones(1, 2, dtype=torch.bool)
    with torch.no_grad():
        changed = not torch.equal(head.sequence(features, mask)[:, 1], head.sequence(other, mask)[:, 1])
    assert changed is head.remembers


def test_gpt2_forgets_what_has_left_its_window():
    head, features = make({"kind": "gpt2", "window": 3, "layers": 3}), torch.randn(1, 6, 6)
    other = features.clone()
    other[:, :3] += 5
    with torch.no_grad():
        one, two = (driven(head, f)[0][:, 5] for f in (features, other))
        torch.testing.assert_close(one, two)
        assert not torch.equal(driven(head, features)[0][:, 4], driven(head, other)[0][:, 4])


@pytest.mark.parametrize("kind", KINDS)
def test_loss_counts_what_exists_and_falls_when_followed(kind):
    head, features = make(kind), torch.randn(2, 4, 6)
    target = torch.rand(2, 4, 1, 2) * 2 - 1
    mask = torch.ones(2, 4, dtype=torch.bool)
    mask[1, 2:] = False
    wrong = torch.where(mask[..., None, None], target, -target)
    outputs = head.sequence(features, mask)
    loss = head.loss(outputs, target, mask[..., None])
    assert torch.equal(loss, head.loss(outputs, wrong, mask[..., None]))
    optimiser = torch.optim.Adam(head.parameters(), 0.02)
    for _ in range(30):
        optimiser.zero_grad()
        head.loss(head.sequence(features, mask), target, mask[..., None]).backward()
        optimiser.step()
    assert head.loss(head.sequence(features, mask), target, mask[..., None]) < 0.8 * loss
    assert head.loss(outputs, target, torch.zeros_like(mask)[..., None]) == 0


def test_loss_of_other_shapes_is_refused():
    head = make({"kind": "mlp"}, horizon=2)
    outputs = head.sequence(torch.randn(1, 3, 6), torch.ones(1, 3, dtype=torch.bool))
    with pytest.raises(ValueError, match="must agree"):
        head.loss(outputs, torch.zeros(1, 3, 1, 2), torch.ones(1, 3, 1, dtype=torch.bool))


def test_headings_survive_decoding_and_encoding():
    codec, classes = HeadingCodec(0.26, 1.0), torch.arange(9)
    assert torch.equal(codec.encode(codec.actions_of(classes)), classes)
    logits = torch.nn.functional.one_hot(classes, 9).float()
    assert torch.equal(codec.encode(codec.decode(logits)), classes)


@pytest.mark.parametrize(
    ("name", "raw"),
    [("stop", (0.2, -0.29)), ("F", (1.15, 0)), ("L", (0, 1.15)), ("R", (0.1, -0.4)), ("FL", (1, 1)), ("BR", (-1, -1))],
)
def test_headings_are_those_of_the_users_data(name, raw):
    # A component counts as moving beyond 0.3 of 1.15 m/s, and y points left.
    codec = HeadingCodec(0.3 / 1.15, 1.0)
    names = ("stop", "F", "B", "L", "R", "FL", "FR", "BL", "BR")
    assert names[codec.encode(torch.tensor(raw) / 1.15)] == name
    assert len(HEADINGS) == len(names)


def test_class_weights_must_be_nine():
    with pytest.raises(ValueError, match="must be 9 numbers, got 2"):
        HeadingCodec(0.26, 1.0, (1.0, 2.0))


@pytest.mark.parametrize("bins", [2, 5, 256])
def test_bins_survive_decoding_and_encoding_within_half_a_bin(bins):
    codec = BinCodec(3, bins)
    classes = torch.arange(bins)[:, None].expand(-1, 3)
    assert torch.equal(codec.encode(codec.actions_of(classes)), classes)
    actions = torch.rand(50, 3) * 2 - 1
    assert (codec.actions_of(codec.encode(actions)) - actions).abs().max() <= 1 / bins + 1e-6
    assert torch.equal(codec.encode(torch.tensor([-7.0, 1.0, 7.0])), torch.tensor([0, bins - 1, bins - 1]))


def test_an_odd_number_of_bins_can_stand_still():
    codec = BinCodec(1, 21)
    assert codec.actions_of(codec.encode(torch.zeros(1, 1))).abs().max() < 1e-6


@pytest.mark.parametrize("codec", ["laplace", "bins", "headings"])
def test_a_head_that_was_right_more_often_expects_to_be_less_far_off(codec):
    torch.manual_seed(0)
    head = build_head(2, HeadSpec(kind="mlp", codec=codec, hidden=32, layers=2), ActionSpec())
    optimiser = torch.optim.Adam(head.parameters(), lr=1e-2)
    sure = torch.rand(512) < 0.5
    features = torch.stack([sure.float(), torch.ones(512)], dim=1)[:, None]
    mask = torch.ones(512, 1, 1, dtype=torch.bool)
    for _ in range(150):
        target = torch.where(sure[:, None], torch.tensor([0.9, 0.0]), torch.rand(512, 2) * 2 - 1)[:, None, None]
        loss = head.loss(head.sequence(features, mask[..., 0]), target, mask)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        spread = head.codec.spread(head.sequence(features, mask[..., 0]))[:, 0, 0].mean(dim=1)
    assert 3 * float(spread[sure].mean()) < float(spread[~sure].mean())
