"""The closed loop: where policies and envs meet. Evaluation, data collection and training call it."""
