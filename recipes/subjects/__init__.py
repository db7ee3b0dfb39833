"""Six subjects that the pocket base never saw: what trainings are tried, measured and compared on.

A subject is a folder beside this file:
- subject.toml: keyword, class, kind, source and licence, and prompts for judging (see write.Subject)
- train/: 24 pictures with captions
- judge/: further pictures that belong to no training, their captions with the keyword in them
"""
