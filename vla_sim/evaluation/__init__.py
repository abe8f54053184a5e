"""Closed-loop evaluation: rollouts, records, metrics, statistics, reports, videos."""
