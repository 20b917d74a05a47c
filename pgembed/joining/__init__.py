"""joining: the sides of a semantic join in a database, what cuts its work, and how it is run; arrays are `pgembed.joins`' business."""
