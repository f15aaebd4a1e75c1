"""The tasks as a worker loads them: with no more of CompressAI than they need."""

from service.light_import import import_compressai_lightly

import_compressai_lightly()

from service.tasks import Tasks  # noqa: E402

__all__ = ["Tasks"]
