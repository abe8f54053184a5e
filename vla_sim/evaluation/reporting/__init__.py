"""Reports and films made from results."""
