"""Evidence: asked of every server pod, merged, and banked so that it survives pods and operator (contract C4)."""
