"""One operation a file: what the engine does, on ports alone."""
