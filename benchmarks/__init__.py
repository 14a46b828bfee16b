"""Speed against what a user would otherwise run: `python -m benchmarks` (`make bench`)."""
