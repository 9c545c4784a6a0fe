"""Recipes: declared compositions of what the tables of features, labels and models hold."""
