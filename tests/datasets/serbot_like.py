"""Sets of recordings with the faults that the users' own have, made without the code under test."""

import numpy as np
from serbot_files import ACTIONS, pictures, write_recording

LEFT, RIGHT = "1box_hori_left_core_medium", "1box_hori_right_core_medium"
SENTENCES = {LEFT: "Pass the box on the left side and reach the cup", RIGHT: "Pass the box on the right side"}


def room(number, count=18):
    """Images of a room that nobody else has: another light, another place of the brown box."""
    rng = np.random.default_rng(number)
    images = pictures(count, seed=number)
    across = int(rng.integers(0, 16))
    images[:] = np.roll(images, across, axis=2)
    return (images * rng.uniform(0.6, 1.0)).astype(np.uint8)


def name_of(number, label=LEFT):
    return f"episode_2025{8 + number // 2000:02d}{1 + number // 60 % 28:02d}_12{number % 60:02d}00_{label}"


def varied_actions(number):
    """An episode around something that stands elsewhere each time: 12 to 18 keys, the swing at another moment."""
    rng = np.random.default_rng([7, number])
    ahead, out, straight = rng.integers(1, 6), rng.integers(1, 4), rng.integers(1, 6)
    keys = [[1.15, 0, 0]] * ahead + [[1.15, 1.15, 0]] * out + [[1.15, 0, 0]] * straight
    keys += [[1.15, -1.15, 0]] * out + [[1.15, 0, 0]] * rng.integers(1, 6) + [[0, 0, 0]]
    return np.array(keys, np.float32)


def write_drive(folder, number, *, label=LEFT, actions=ACTIONS, instruction="", bgr=True, images=None):
    """One recording; the right ones are the left ones mirrored."""
    if label == RIGHT:
        actions = actions * np.array([1, -1, 1], np.float32)
    return write_recording(
        folder / f"{name_of(number, label)}.h5",
        images=room(number, len(actions)) if images is None else images,
        actions=actions,
        events=["start_action"] * len(actions),
        instruction=instruction or SENTENCES[label],
        bgr=bgr,
    )


def write_repeated(folder, *, left=120, right=0):
    """The users' real situation: all left drives but the last are one and the same sequence of keys."""
    for number in range(left):
        write_drive(folder, number, actions=ACTIONS[:-2] if number == left - 1 else ACTIONS)
    for number in range(right):
        write_drive(folder, left + number, label=RIGHT, actions=varied_actions(number))
    return folder


def write_varied(folder, count=40):
    """Nothing wrong: both sides, different drives."""
    for number in range(count):
        write_drive(folder, number, label=(LEFT, RIGHT)[number % 2], actions=varied_actions(number))
    return folder
