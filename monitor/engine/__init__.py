"""The engine process: threads around the pure pipelines of its beds, and the supervisor that restarts it."""
