"""Learners that know boxes only."""

import gymnasium
import pytest

import vla_sim  # noqa: F401
from vla_sim.envs.wrappers import INSTRUCTION_BYTES, EncodeInstruction, decode_text, encode_text


@pytest.mark.parametrize("text", ["", "go left", "왼쪽으로 가세요", "x" * INSTRUCTION_BYTES])
def test_a_text_comes_back_from_its_bytes(text):
    assert decode_text(encode_text(text)) == text


def test_a_long_text_is_cut_between_characters():
    assert decode_text(encode_text("왼" * 200)) == "왼" * (INSTRUCTION_BYTES // 3)


@pytest.mark.filterwarnings("ignore")
def test_stable_baselines_accepts_the_wrapped_env():
    checker = pytest.importorskip("stable_baselines3.common.env_checker")
    env = EncodeInstruction(gymnasium.make("VLASim/Navigate-v1", scenario="obstacle_left"))
    try:
        checker.check_env(env, warn=False)
    finally:
        env.close()
