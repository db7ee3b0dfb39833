"""The pictures: from a folder of image files to batches of cached latents."""
