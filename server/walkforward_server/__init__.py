"""Walkforward server."""
