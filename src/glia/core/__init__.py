"""The words: errors, settings, field types, task, card, session."""
