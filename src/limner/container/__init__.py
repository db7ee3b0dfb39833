"""Files of named tensors, whatever they are for: read with bounds before anything in them is believed."""
