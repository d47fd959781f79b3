"""Before/after pairs of procedural worlds with the sentence that leads from one to the other."""
