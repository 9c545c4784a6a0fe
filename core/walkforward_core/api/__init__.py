"""The typed models of the two custom resources: the one source of truth for the CRDs, their reference pages and every reader.

A docstring under a field is its description in ``kubectl explain`` and in the reference. Bounds stand in ``Meta``; rules that need
more than one field stand in ``RULES`` of their struct and become CEL rules of the schema.
"""
