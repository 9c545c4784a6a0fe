"""What every part of Walkforward shares: documents, names, the object store, statistics and features.

Nothing here imports the operator, the trainer or the server; the three never import each other.
"""
