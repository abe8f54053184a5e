"""Closed-loop test bench for language-conditioned mobile robots."""

__version__ = "0.1.0"
