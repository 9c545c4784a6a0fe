"""What a person asks about a candidate: ``report.json`` and ``report.html``."""
