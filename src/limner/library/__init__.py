"""What you own and can find: an index of the models folders, a search of Civitai and the hub, and downloads.

Nothing here imports torch: files are read in a process of its own (reader.py), so that a server can call all of it.
"""
