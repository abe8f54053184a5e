"""Run by an interpreter that has the real LeRobot: loads a data set of ours, writes one of its own. Imports none of us.

usage: python lerobot_probe.py OURS NATIVE_FILMS NATIVE_PICTURES RESULT
OURS is read; the same frames are written as NATIVE_*; what was seen goes to RESULT.json and RESULT.npz.
"""

import json
import os
import sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import lerobot
import numpy as np
import torch
from lerobot.datasets.lerobot_dataset import LeRobotDataset

AUTOMATIC = ("timestamp", "frame_index", "episode_index", "index", "task_index")


def look(ours):
    """Everything that a training script would touch."""
    data = LeRobotDataset("local/ours", root=ours, video_backend="pyav")
    camera = data.meta.camera_keys[0]
    items = [data[i] for i in range(len(data))]
    ahead = LeRobotDataset(
        "local/ours", root=ours, video_backend="pyav", episodes=[1], delta_timestamps={"action": [0.0, 0.2, 0.4]}
    )
    batch = next(iter(torch.utils.data.DataLoader(data, batch_size=8, shuffle=True)))
    facts = {
        "version": lerobot.__version__,
        "frames": len(data),
        "episodes": data.num_episodes,
        "fps": data.fps,
        "camera": camera,
        "batch": {key: list(value.shape) for key, value in batch.items() if hasattr(value, "shape")},
        "tasks": [item["task"] for item in items],
        "ahead": {"frames": len(ahead), "shape": list(ahead[0]["action"].shape)},
        "stats": sorted(data.meta.stats),
        "index": [[int(item[key]) for key in ("episode_index", "frame_index", "index")] for item in items],
    }
    pictures = np.stack([(item[camera] * 255).round().byte().permute(1, 2, 0).numpy() for item in items])
    arrays = {key: np.stack([item[key].numpy() for item in items]) for key in ("action", "timestamp", "next.done")}
    return data, facts, {"pictures": pictures, **arrays}


def write(data, pictures, root, videos):
    """The same frames through LeRobot's own writer."""
    camera = data.meta.camera_keys[0]
    features = {k: dict(f) for k, f in data.meta.features.items() if k not in AUTOMATIC}
    features[camera] = {"dtype": "video" if videos else "image", "shape": (*pictures.shape[1:],), "names": None}
    features[camera]["names"] = ["height", "width", "channels"]
    for feature in features.values():
        feature["shape"] = tuple(feature["shape"])
    native = LeRobotDataset.create("local/native", data.fps, features, root=root, robot_type="real", use_videos=videos)
    rows = data.hf_dataset
    for number in range(len(data)):
        item = data[number]
        frame = {}
        for key, feature in features.items():
            if key == camera:
                frame[key] = pictures[number]
            else:
                frame[key] = item[key].numpy().reshape(feature["shape"])
        native.add_frame({**frame, "task": item["task"]})
        last = number + 1 == len(data) or int(rows[number + 1]["episode_index"]) != int(item["episode_index"])
        if last:
            native.save_episode()
    native.finalize()


def main():
    ours, films, pictures_root, result = map(Path, sys.argv[1:])
    data, facts, arrays = look(ours)
    write(data, arrays["pictures"], films, True)
    write(data, arrays["pictures"], pictures_root, False)
    result.with_suffix(".json").write_text(json.dumps(facts))
    np.savez(result.with_suffix(".npz"), **arrays)


if __name__ == "__main__":
    main()
