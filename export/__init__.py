"""From a trained torch module to a bundle that the monitor runs without torch."""
