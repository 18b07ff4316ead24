"""From windows to scores, and from scores to the pain index."""
