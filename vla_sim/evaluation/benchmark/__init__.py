"""The benchmark: open-loop error beside closed-loop success."""
