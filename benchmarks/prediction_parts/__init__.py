"""What prediction.py runs in processes, and environments, of their own; each prints JSON."""
