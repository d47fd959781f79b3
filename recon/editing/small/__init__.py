"""The editor that comes with the program: small enough for a laptop's processor, trained on procedural worlds alone."""
