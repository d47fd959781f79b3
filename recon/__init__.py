"""The reconstruction engine: no user interface, no printing, no exit."""
