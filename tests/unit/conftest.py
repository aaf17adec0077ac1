"""Property tests on a busy machine."""

from hypothesis import HealthCheck, settings

# What an example takes is a matter of what else runs: pytest's timeout ends a test that hangs.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")
