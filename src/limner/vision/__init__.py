"""What pixels show, asked of OpenCV: faces, what stands out, sharpness, hashes."""
