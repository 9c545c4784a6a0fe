"""Cumulative, mergeable statistics of one process (contract C4). Written on the event loop only."""
