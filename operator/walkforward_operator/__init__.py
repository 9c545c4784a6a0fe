"""Walkforward operator."""
