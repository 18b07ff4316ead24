"""Session databases: one SQLite file a session; written by the engine, read, verified, drawn and exported."""
