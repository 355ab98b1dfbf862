"""How fast the study is, against what others use for the same work: `make bench`."""
