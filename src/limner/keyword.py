"""A keyword before it is learned: its tokens, how strongly a base reacts to it, and better ones."""
