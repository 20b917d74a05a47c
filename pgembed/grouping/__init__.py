"""grouping: groups of rows, as functions of arrays and texts: by labels that words describe, by topic, by being the same.

Knows no database; `pgembed.rowgroups` reads the rows.
"""
