"""Gymnasium envs. Importing this module registers them; importing `vla_sim` does so too, without loading physics."""
