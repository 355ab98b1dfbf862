"""The bundled model: its corpus, architecture, pretraining and skill report."""
