"""People's own documents and questions, read from files."""
