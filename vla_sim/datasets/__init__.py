"""Episodes on disk: what was seen and done, in the formats that other tools read."""
