"""What users write who have mypy: every public name of pgembed's rooms, in files that `make types` checks and no test runs.

``tests/unit/test_typed.py`` asserts that no name is left out, and that what should be an error is one (``wrong.py``).
"""
