"""From the typed models to the CRDs and their reference pages: ``python -m walkforward_operator.schema [--check]``."""
