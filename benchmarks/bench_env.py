"""Environment steps per second at 224x224 against the plain way, and against its own raw parts."""

from __future__ import annotations

import functools
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np

from benchmarks.plain import PlainSimulator
from vla_sim.core.embodiments import load_embodiment
from vla_sim.core.types import Scene
from vla_sim.envs.navigate import NavigateEnv
from vla_sim.envs.vector import NavigateVectorEnv
from vla_sim.policies.expert import ExpertPolicy
from vla_sim.scenarios import load_scenario

SCENARIO = "two_obstacles_left"
EPISODES = 10


@functools.cache
def drives() -> list[tuple[Scene, list[np.ndarray]]]:
    """Worlds and how the expert drives around the boxes in them: what every way below repeats, action by action."""
    scenario = load_scenario(SCENARIO)
    env, expert = NavigateVectorEnv(1, scenario, autoreset_mode="Disabled"), ExpertPolicy()
    found = []
    for seed in range(EPISODES):
        scene, actions = scenario.sample(seed), []
        observation, _ = env.reset(options={"scenes": [scene]})
        expert.reset(np.array([True]), np.array([seed]))
        while env.simulations[0].outcome is None:
            actions.append(expert.act(observation, [{**env.simulations[0].info(), "embodiment": env.embodiment}]))
            observation, *_ = env.step(actions[-1])
        found.append((scene, [action[0] for action in actions]))
    env.close()
    return found


def steps_in(some) -> int:
    return sum(len(actions) for _, actions in some)


def per_second(run) -> float:
    """Best of three: steps per second of `run`, which returns the number of steps it made."""
    run()
    best = 0.0
    for _ in range(3):
        begin = time.perf_counter()
        steps = run()
        best = max(best, steps / (time.perf_counter() - begin))
    return best


def plain_way() -> float:
    simulator = PlainSimulator(load_embodiment("serbot"))

    def run():
        for scene, actions in drives()[:3]:
            simulator.reset(scene)
            for vx, vy in actions:
                simulator.step(vx, vy)
        return steps_in(drives()[:3])

    try:
        return per_second(run)
    finally:
        simulator.close()


def one_world() -> tuple[float, float]:
    """Steps per second with resets, and seconds per step without them."""
    env = NavigateEnv(SCENARIO)
    stepping = []

    def run():
        seconds = 0.0
        for scene, actions in drives():
            env.reset(options={"scene": scene})
            begin = time.perf_counter()
            for action in actions:
                env.step(action)
            seconds += time.perf_counter() - begin
        stepping.append(seconds / steps_in(drives()))
        return steps_in(drives())

    try:
        return per_second(run), min(stepping)
    finally:
        env.close()


def raw_parts() -> tuple[float, float]:
    """Seconds per step of the bare physics calls and of the bare image, with nothing of ours around them."""
    env = NavigateEnv(SCENARIO)
    env.reset(seed=1)
    robot, renderer = env.simulation._robot, env._sensing.renderers["image"]
    robot._build()
    world, base = robot.world, robot.world._ids["robot"]
    repeats = steps_in(drives())
    begin = time.perf_counter()
    for _ in range(repeats):
        for _ in range(env.embodiment.substeps):
            world._p.resetBaseVelocity(base, (0.0, 0.0, 0.08175), (0.0, 0.0, 0.0), physicsClientId=world._client)
            world._p.stepSimulation(physicsClientId=world._client)
            world._p.getContactPoints(base, physicsClientId=world._client)
    physics_s = (time.perf_counter() - begin) / repeats
    render_s = 0.0
    for scene, actions in drives():
        renderer.load(0, scene, env.embodiment.camera)
        poses = poses_of(env, scene, actions)
        begin = time.perf_counter()
        for pose in poses:
            renderer.place(0, pose)
            renderer.render()
        render_s += time.perf_counter() - begin
    env.close()
    return physics_s, render_s / repeats


def poses_of(env: NavigateEnv, scene: Scene, actions) -> list:
    env.simulation.start(scene)
    poses = []
    for action in actions:
        env.simulation.advance(action)
        poses.append(env.simulation.pose)
    return poses


def many_worlds(num_envs: int = 8) -> float:
    env = NavigateVectorEnv(num_envs, SCENARIO, autoreset_mode="Disabled")

    def run():
        for scene, actions in drives():
            env.reset(options={"scenes": [scene] * num_envs})
            for action in actions:
                env.step(np.tile(action, (num_envs, 1)))
        return steps_in(drives()) * num_envs

    try:
        return per_second(run)
    finally:
        env.close()


def main() -> None:
    plain, (single, step_s), vector = plain_way(), one_world(), many_worlds()
    physics_s, render_s = raw_parts()
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        both = sum(pool.map(many_worlds, [8, 8]))
    print("environment, 224x224, 0.4 s control step, the expert's drives around two boxes, resets included")
    print(f"  plain PyBullet 240 Hz + TinyRenderer  {plain:8.0f} steps/s")
    print(f"  NavigateEnv, one world                {single:8.0f} steps/s   {single / plain:5.1f} x plain")
    print(
        f"  raw physics {physics_s * 1e3:.3f} ms + raw image {render_s * 1e3:.3f} ms a step; "
        f"the env's step {step_s * 1e3:.3f} ms: {step_s / (physics_s + render_s):.2f} x their sum"
    )
    print(f"  8 worlds in one process               {vector:8.0f} steps/s   {vector / single:5.2f} x one world")
    print(f"  2 processes of 8 worlds               {both:8.0f} steps/s   {both / vector:5.2f} x one process")


if __name__ == "__main__":
    main()
