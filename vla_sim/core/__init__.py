"""Small values and services that every layer shares: types, files, geometry, planner, errors. No physics, no torch."""
