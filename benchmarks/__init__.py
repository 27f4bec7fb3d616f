"""What the library costs and what it saves: `python -m benchmarks` measures it, README.md says what each row means."""
