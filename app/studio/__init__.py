"""The web app: a walk from photos to export, over the same jobs as the command line."""
