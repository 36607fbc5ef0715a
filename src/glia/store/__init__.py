"""Models at rest: store, catalog, sources."""
