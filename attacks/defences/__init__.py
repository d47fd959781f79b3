"""What helps, and how much of it is left when the attacker knows: one module per defence."""
