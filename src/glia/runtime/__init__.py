"""Graphs in memory."""
