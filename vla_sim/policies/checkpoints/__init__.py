"""Checkpoints of other training code, read safely and run as policies."""
