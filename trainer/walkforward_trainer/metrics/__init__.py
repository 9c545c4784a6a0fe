"""What is measured: pure functions of arrays."""
