"""Which worlds a recorded drive fits: key sequences and recordings against the geometry of scenarios. See `ranges`."""
