"""The embedded router: the routing document, how it is written, and how it reaches the pods (contracts C2, C3)."""
