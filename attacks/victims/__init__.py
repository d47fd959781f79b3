"""What can be attacked: one protocol, one module per kind of victim."""
