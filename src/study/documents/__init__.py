"""People's own documents: read them, ask about them, and say which way to give them to a model."""
