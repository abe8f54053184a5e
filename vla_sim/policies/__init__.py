"""Policies: what turns an observation into a body twist. Hub-style folders in `policies/` say which exist."""
