"""From a model to its float artifact, one file per framework; each is imported in the worker process alone.

A frontend has `make(work, parts)`, which trains or takes the source, keeps it in the work's folder and returns the research model's own
answers as `{part: array}`, and `source_digest(work)`.
"""
