"""What Kedge is measured with: `python -m benchmarks`. README.md has the figures."""
