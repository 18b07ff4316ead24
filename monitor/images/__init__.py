"""The six images of a biosignal that the image models read, in pure numpy."""
