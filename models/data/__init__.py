"""Windows with labels, cut by the monitor's own pipeline: what a model is trained on is what it is fed live."""
