"""What a person touches: the command, the jobs, the studio."""
