"""Where samples come from. Every source speaks the protocol of `monitor.sources.base`."""
