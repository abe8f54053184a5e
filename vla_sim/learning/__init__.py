"""Learning from simulated drives."""
