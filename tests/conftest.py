"""Settings of every test."""

from __future__ import annotations

from hypothesis import settings

# a deadline in wall time says how busy the machine is
settings.register_profile("walkforward", deadline=None, max_examples=60)
settings.load_profile("walkforward")
