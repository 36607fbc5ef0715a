"""Metrics, and scoring a model as it is served."""
