"""The rollout engine: pure decisions about one ModelRollout, and the service that observes and acts for them."""
