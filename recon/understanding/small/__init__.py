"""The understanding network that comes with the program: its parts (`networks`), its training on procedural worlds (`training`), and how it is asked
about photos (`predictor`)."""
