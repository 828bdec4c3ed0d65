"""The command line: click in, one call, text out. It never names a backend."""
