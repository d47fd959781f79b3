"""The web app: one page over the same jobs as the command line."""

from app.studio.page import launch

__all__ = ["launch"]
