"""Published pain models in torch. Nothing here imports the monitor, and the monitor never imports this."""
