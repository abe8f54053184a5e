"""Twenty images of scenarios beside each other, to judge looks by eye: the picture of docs/looks.md.

`python -m recipes.contact_sheet --out docs/images/looks.jpg`
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from vla_sim.core.embodiments import load_embodiment
from vla_sim.scenarios import load_scenario
from vla_sim.sim.renderers import make_renderer

FURNISHED = Path(__file__).with_name("furnished.toml")
COLUMNS, ROWS = 5, 4
QUALITY = 82


def sheet(scenarios: list[str], first_seed: int, embodiment: str) -> np.ndarray:
    """uint8 RGB (ROWS * H, COLUMNS * W, 3): the robot's first image in worlds of these scenarios, in turn."""
    camera = load_embodiment(embodiment).camera
    loaded = [load_scenario(name) for name in scenarios]
    renderer = make_renderer(camera.image_px, COLUMNS * ROWS)
    for slot in range(COLUMNS * ROWS):
        scenario = loaded[slot % len(loaded)]
        renderer.load(slot, scenario.sample(first_seed + slot // len(loaded)), camera)
    width, height = camera.image_px
    grid = renderer.render().reshape(ROWS, COLUMNS, height, width, 3)
    image = grid.transpose(0, 2, 1, 3, 4).reshape(ROWS * height, COLUMNS * width, 3)
    renderer.close()
    return image


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenario", nargs="+", default=[f"{FURNISHED}#furnished_left"], help="names or files")
    parser.add_argument("--first-seed", type=int, default=0, help="of the first world")
    parser.add_argument("--embodiment", default="serbot", help="whose camera")
    parser.add_argument("--out", type=Path, required=True, help="JPEG or PNG file")
    options = parser.parse_args()
    from PIL import Image

    image = Image.fromarray(sheet(options.scenario, options.first_seed, options.embodiment))
    image.save(options.out, quality=QUALITY)


if __name__ == "__main__":
    main()
