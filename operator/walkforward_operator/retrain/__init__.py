"""The retrain engine: pure decisions about one ModelRetrain, and the service that observes and acts for them."""
