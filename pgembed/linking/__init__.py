"""Entity linking: which row of a table a mention in a text means, or that it means none.

    linker = engine.Linker(contract.Knowledge(keys, names, aliases, types, context))
    linker.link(["we raised shared_bufers"])

Rows are numbers here; who fetches them, and with whose rights, is another room's business (`pgembed/linkers`).
"""
