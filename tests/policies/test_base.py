import pytest

from vla_sim.policies.base import PolicySpec


@pytest.mark.parametrize("names", [("vy", "vx"), ("speed",), ("vx", "vx")])
def test_spec_refuses_action_names_that_no_env_has(names):
    with pytest.raises(ValueError, match="action_names"):
        PolicySpec(action_names=names)


@pytest.mark.parametrize("size", [(224,), (0, 224), (224, 224, 3)])
def test_spec_refuses_sizes_that_no_picture_has(size):
    with pytest.raises(ValueError, match="image_px"):
        PolicySpec(image_px=size)
