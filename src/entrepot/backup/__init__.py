"""All of a store in one file, and back: ``making`` writes it, ``restoring`` builds a store of it and puts it in place.

After a restore the backup says what was accepted and which catalog is in force. Who may not come in is what either
knows: the backup, or the store that was replaced.
"""
