"""Doors: HTTP, shell, client, page."""
