"""spaces: how maps are fitted and measured by which queries of another model, or queries that have learnt, reach a column's rows.

What a search needs of a map that is in force is `pgembed.asking`, below.
"""
