"""What all tests share."""

from hypothesis import HealthCheck, settings

# A busy machine is no failure: no time limit per example, and slow first draws are allowed.
settings.register_profile("neuropil", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("neuropil")
