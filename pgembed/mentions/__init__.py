"""Mentions: places in a text that may name a row, by a dictionary of names and by their looks; arrays and strings only."""
