"""A messy folder made into a data set: what is kept, how it is cropped, captioned and masked, and why."""
