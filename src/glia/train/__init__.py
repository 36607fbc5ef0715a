"""Data to models; the one room where torch may appear."""
