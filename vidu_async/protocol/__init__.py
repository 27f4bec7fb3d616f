"""What is said between a client and Vidu: values and pure functions. Nothing here does I/O or tells the time."""
