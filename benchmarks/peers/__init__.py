"""The systems that Glia is measured against; each file runs in a virtual environment of its own, without Glia."""
