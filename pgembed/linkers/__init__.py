"""linkers: linking as tables know it: what is declared, how it is read and followed, and how links become rows again."""
