"""What all tests share: examples that hypothesis generates are the same in every run, however busy the machine."""

from hypothesis import settings

settings.register_profile("same", derandomize=True, deadline=None, database=None)
settings.load_profile("same")
