"""The configs and files that go with the original networks."""

TEXTS = ["Pass the box on the left.", "Pass the box on the right.", "Navigate around the obstacle to the red cup"]
PLACES, SIDE_PX = 48, 32


CONFIGS = {
    "MobileVla": {
        "action": {"outputs": ["vx", "vy", "wz"], "scale": [0.4, 0.4, 1.0], "limit": [1.15] * 3},
        "pictures": {"kosmos2": "imagenet"},
    },
    "NormalisedHybrid": {
        "action": {"outputs": ["vx", "vy"], "scale": [0.4, 0.4], "limit": [1.15, 1.15]},
        "pictures": {"kosmos2": "clip", "clip": "clip"},
        "attention_heads": 4,
    },
    "TokenHybrid": {
        "action": {"outputs": ["vx", "vy"], "scale": [0.4, 0.4], "limit": [1.15, 1.15]},
        "pictures": {"kosmos2": "clip_twice", "clip": "unit"},
        "attention_heads": 4,
    },
    "ClipMlp": {
        "action": {"outputs": ["vx", "vy"], "scale": [0.4, 0.4], "limit": [1.15, 1.15]},
        "pictures": {"clip": "unit"},
    },
    "RoboVlms": {
        "action": {"outputs": ["vx", "vy"], "scale": [0.5, 0.5], "limit": [1.0, 1.0]},
        "pictures": {"kosmos2": "clip"},
        "prompt": "<grounding>An image of a robot {instruction}",
        "window": 3,
    },
}
SUFFIX = {"MobileVla": "pt", "RoboVlms": "ckpt"}


def contents(name, network):
    """What the users' code saves beside the weights."""
    import torch

    state = network.state_dict()
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(3))])
    if name == "MobileVla":
        actions = network.action_head[-1].out_features
        config = {"model_name": "m", "action_dim": actions, "window_size": network.window, "chunk_size": network.chunk}
        return {
            "epoch": 3,
            "step": 60,
            "model_state_dict": state,
            "optimizer_state_dict": optimizer.state_dict(),
            "scheduler_state_dict": {"last_epoch": 3},
            "config": config,
            "metrics": {"mae": 0.4},
            "scaler_state_dict": {"scale": 65536.0},
        }
    if name == "RoboVlms":
        lightning = {f"model.{key}": value for key, value in state.items()}
        return {
            "epoch": 6,
            "global_step": 9,
            "pytorch-lightning_version": "2.2.2",
            "state_dict": lightning,
            "loops": {},
            "callbacks": {},
            "optimizer_states": [optimizer.state_dict()],
            "lr_schedulers": [],
        }
    return {"model_state_dict": state, "epoch": 2, "metrics": {"loss": 0.3, "mae": 0.3}, "optimizer_state_dict": {}}
