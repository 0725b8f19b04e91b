"""The command line: ``main.main`` is the program ``entrepot``, ``parser`` its forms, one module for each group.

Only the command that runs is imported, so that ``entrepot --help`` is there at once.
"""
