"""Readers of data sets, one file for each kind: each gives columns by name, or says in one line why it cannot."""
