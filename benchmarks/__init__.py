"""Glia against its peers, against a twin written by hand, and against the machine; and the soak. See README.md."""
