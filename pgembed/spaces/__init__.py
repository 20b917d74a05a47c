"""spaces: vectors of which model a column holds, and how queries of another model, or queries that have learnt, reach its rows."""
