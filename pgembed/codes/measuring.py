"""measuring: what a codec costs in recall, on the column that it is for."""
