"""The recipe of what tells photographs from simple drawings."""
