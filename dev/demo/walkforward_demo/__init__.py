"""The demo: four acts on a cluster of their own, ending with a verdict."""
