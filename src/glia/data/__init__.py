"""Bytes to arrays."""
