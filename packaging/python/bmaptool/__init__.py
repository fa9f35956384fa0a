"""The command `bmaptool`, which is not written in Python: `python -m bmaptool` executes it."""
