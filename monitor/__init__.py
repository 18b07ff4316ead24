"""Real-time streaming pain monitor: sources, timeline, windows, scores, index, alarms. Research use only."""

__version__ = "0.1.0"
