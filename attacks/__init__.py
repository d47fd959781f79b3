"""The robustness bench: threat models, attacks, controls, defences, and what they do to a reconstruction."""
