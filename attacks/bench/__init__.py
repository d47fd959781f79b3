"""The robustness bench: suites of cells, run in parallel, kept as they finish, reported as JSON, CSV and one HTML page."""
