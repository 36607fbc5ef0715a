"""Work that waits or combines rooms."""
