"""Environment steps per second at 224x224 against the plain way, and against its own raw parts."""

from __future__ import annotations

import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np

from benchmarks.plain import PlainSimulator
from vla_sim.embodiments import load_embodiment
from vla_sim.envs.navigate import NavigateEnv
from vla_sim.envs.vector import NavigateVectorEnv
from vla_sim.scenarios import load_scenario

SCENARIO = "two_obstacles_left"
EPISODES, STEPS = 10, 20
# Slow sideways-and-back wiggle: never touches anything, so that every run has the same number of steps.
ACTIONS = [(0.1 * (-1) ** i, 0.1 * (-1) ** (i // 2)) for i in range(STEPS)]


def scenes():
    scenario = load_scenario(SCENARIO)
    return [scenario.sample(seed) for seed in range(EPISODES)]


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
    worlds = scenes()[:3]

    def run():
        for scene in worlds:
            simulator.reset(scene)
            for vx, vy in ACTIONS:
                simulator.step(vx, vy)
        return len(worlds) * STEPS

    try:
        return per_second(run)
    finally:
        simulator.close()


def one_world() -> float:
    env = NavigateEnv(SCENARIO)
    worlds = scenes()

    def run():
        for scene in worlds:
            env.reset(options={"scene": scene})
            for action in ACTIONS:
                env.step(action)
        return len(worlds) * STEPS

    try:
        return per_second(run)
    finally:
        env.close()


def one_world_without_resets() -> float:
    env = NavigateEnv(SCENARIO)
    env.reset(seed=1)

    def run():
        env.reset(seed=1)
        begin = time.perf_counter()
        for action in ACTIONS:
            env.step(action)
        run.seconds += time.perf_counter() - begin
        run.steps += STEPS
        return STEPS

    run.seconds, run.steps = 0.0, 0
    for _ in range(20):
        run()
    env.close()
    return run.steps / run.seconds


def raw_parts() -> tuple[float, float]:
    """Seconds per step of the bare physics calls and of the bare picture, with nothing of ours around them."""
    env = NavigateEnv(SCENARIO)
    env.reset(seed=1)
    robot, renderer = env.simulation._robot, env._renderer
    robot._build()
    world, base = robot.world, robot.world._ids["robot"]
    repeats = 300
    begin = time.perf_counter()
    for _ in range(repeats):
        for _ in range(env.embodiment.substeps):
            world._p.resetBaseVelocity(base, (0.0, 0.0, 0.08175), (0.0, 0.0, 0.0), physicsClientId=world._client)
            world._p.stepSimulation(physicsClientId=world._client)
            world._p.getContactPoints(base, physicsClientId=world._client)
    physics_s = (time.perf_counter() - begin) / repeats
    begin = time.perf_counter()
    for _i in range(repeats):
        renderer.place(0, env.simulation.pose)
        renderer.render()
    render_s = (time.perf_counter() - begin) / repeats
    env.close()
    return physics_s, render_s


def many_worlds(lanes: int = 8) -> float:
    env = NavigateVectorEnv(lanes, SCENARIO, autoreset_mode="Disabled")
    actions = [np.tile(np.float32(action), (lanes, 1)) for action in ACTIONS]

    def run():
        for episode in range(EPISODES):
            env.reset(seed=100 * episode)
            for action in actions:
                env.step(action)
        return EPISODES * STEPS * lanes

    try:
        return per_second(run)
    finally:
        env.close()


def main() -> None:
    plain, single, vector = plain_way(), one_world(), many_worlds()
    stepping = one_world_without_resets()
    physics_s, render_s = raw_parts()
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        both = sum(pool.map(many_worlds, [8, 8]))
    print("environment, 224x224, 0.4 s control step, two boxes, resets included")
    print(f"  plain PyBullet 240 Hz + TinyRenderer  {plain:8.0f} steps/s")
    print(f"  NavigateEnv, one world                {single:8.0f} steps/s   {single / plain:5.1f} x plain")
    print(f"  NavigateEnv, one world, resets apart  {stepping:8.0f} steps/s   {stepping / plain:5.1f} x plain")
    print(
        f"  raw physics {physics_s * 1e3:.3f} ms + raw picture {render_s * 1e3:.3f} ms a step: the env's step takes",
        end="",
    )
    print(f" {1 / stepping / (physics_s + render_s):.2f} x their sum")
    print(f"  8 worlds in one process               {vector:8.0f} steps/s   {vector / single:5.2f} x one world")
    print(f"  2 processes of 8 worlds               {both:8.0f} steps/s   {both / vector:5.2f} x one process")


if __name__ == "__main__":
    main()
