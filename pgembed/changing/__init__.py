"""changing: another model for an embedded column while the table is read and written, and the way back.

A second column stands beside the first, with a hash column and triggers of its own, so that from then on every row is followed in both.
Workers fill it and build its index (`concurrently`); both are compared. Then names change places in one short transaction: what was
``embedding`` is ``embedding_previous``, and is followed on, so that the way back is another exchange of names. The old column goes when
somebody says so.

Over chunks it is a second hash column and a second table of chunks; what exchanges names then are the hash columns and the two tables.

`pinning` is why no search meanwhile compares vectors of two models.
"""
