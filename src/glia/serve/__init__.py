"""Services under load: replicas and their pool."""
