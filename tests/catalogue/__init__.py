"""A small catalogue, as an application of pgembed's users has it: makers, products, orders, offers of suppliers, and articles.

`models` declares the tables, what of them is embedded and how makers are called in prose; `queries` are the questions that its pages ask,
each one statement. It stands here for tests/client/test_catalogue.py, which reads and runs every one of them, and as an example to follow.
"""
