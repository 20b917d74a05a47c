"""A joint space: two sides, such as mentions and rows, mapped to vectors of which the inner product says how well they fit."""
