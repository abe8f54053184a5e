"""What is wrong with a data set, before anyone trains on it. See docs/audit.md."""
