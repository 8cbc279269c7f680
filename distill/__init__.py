"""Distill a PPO teacher on an Atari game into a smaller student that plays for itself."""

import os

# OpenMP reads this when torch is loaded, so this package is imported before torch. By default an
# idle torch thread spins for 3 ms on the core that the emulator needs next; at once to sleep (1000)
# would cost the small updates of a student more than it saves.
os.environ.setdefault("GOMP_SPINCOUNT", "50000")
