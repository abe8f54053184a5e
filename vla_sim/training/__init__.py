"""Learning from demonstrations and rollouts."""
