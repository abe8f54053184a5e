"""The old place of `run_units`."""

from vla_sim.core.pool import run_units

__all__ = ["run_units"]
