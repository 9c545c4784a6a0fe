"""Walkforward trainer."""
