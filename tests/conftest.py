"""How Hypothesis runs: without deadlines (machines differ, and tests run side by side), and in CI
with the same examples each time, so that a run says something about the change it is for."""

import os

from hypothesis import HealthCheck, settings

settings.register_profile("here", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("here"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")
