"""Training: ``compass train``. See ``docs/training.md`` for the stages and what each run gave."""
