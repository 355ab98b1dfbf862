"""Language models: where their files are, loading, scoring, generation, fine-tuning."""
