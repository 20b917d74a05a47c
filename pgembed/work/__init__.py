"""work: embedding the rows that need it, by whoever it is: a worker process, `CALL pgembed.work`, `CALL pgembed.refresh`, or a writer.

``claims`` says who works on which rows, ``reading`` reads them, ``running`` embeds them, ``writing`` writes them where their source is
still the same, ``failures`` keeps what went wrong. A row says itself whether it needs work; what is kept beside it costs time if it is
lost, never a row.
"""
