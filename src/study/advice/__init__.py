"""Which way to give a model the facts of somebody's own documents: draft questions, run the study, recommend."""
