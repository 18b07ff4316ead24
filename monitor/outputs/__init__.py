"""Where scores and alarms go: one module an output, one thread each."""
