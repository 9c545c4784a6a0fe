"""Access to the cluster: one small protocol on plain dictionaries, its errors, and its implementation over HTTP."""
