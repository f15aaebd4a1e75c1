"""What the routes share: one object, made at start, reached by dependency injection."""

from asyncio import Semaphore
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request, Security

from service.engine.interface import Engine
from service.errors import Forbidden, NotOffered, Unauthorized
from service.library import Library
from service.metrics import Metrics
from service.planning.presets import Presets
from service.settings import Settings
from service.storage.store import Store
from service.web.access import (
    SIGNED_URL,
    ApiKey,
    carries_key,
    is_api_key,
    require_api_key,
    require_signature,
    signed_target,
)
from service.web.jobs import Jobs
from service.web.repeats import Repeats
from service.web.sending import Outgoing
from service.web.uploads import Incoming


@dataclass(frozen=True)
class Context:
    """The parts of a running service; ``incoming`` bounds the bodies of uploads in memory, ``outgoing`` the
    answers, and ``upload_slots`` how many uploads whose bodies are here are worked on; ``repeats`` answers
    what was asked before, ``jobs`` are the uploads that were answered already.
    """

    settings: Settings
    metrics: Metrics
    store: Store
    engine: Engine
    library: Library
    upload_slots: Semaphore
    incoming: Incoming
    outgoing: Outgoing
    repeats: Repeats
    presets: Presets
    jobs: Jobs


async def _context(request: Request) -> Context:
    context = request.app.state.context
    assert isinstance(context, Context)
    return context


ServiceContext = Annotated[Context, Depends(_context)]


async def may_write(key: ApiKey, context: ServiceContext) -> None:
    """Dependency of writing routes. Raises Unauthorized."""
    require_api_key(key, context.settings.api_keys)


async def may_have_originals(key: ApiKey, context: ServiceContext) -> None:
    """Dependency of originals, which tell what pictures do not, such as where they were taken: no signature
    opens them, and nobody without a key, even where anybody may write. Raises Unauthorized.
    """
    if not context.settings.api_keys:
        raise Unauthorized("originals are for holders of a key, and this service has none (COMPASS_API_KEYS)")
    require_api_key(key, context.settings.api_keys)


async def may_watch(key: ApiKey, context: ServiceContext) -> None:
    """Dependency of the metrics, which a key of their own opens, and API keys. Raises Unauthorized."""
    settings = context.settings
    require_api_key(key, (*settings.metrics_keys, *settings.api_keys))


async def may_read(
    request: Request, key: ApiKey, _: Annotated[str | None, Security(SIGNED_URL)], context: ServiceContext
) -> None:
    """Dependency of picture routes: an API key reads everything. Raises Forbidden."""
    if not (context.settings.api_keys and is_api_key(key, context.settings.api_keys)):
        require_signature(*signed_target(request), context.settings.url_keys)


async def trusted(key: ApiKey, context: ServiceContext) -> bool:
    """Dependency: whether a request carries an API key, or a signature without which it would be refused."""
    settings = context.settings
    return bool(settings.url_keys) or bool(settings.api_keys and is_api_key(key, settings.api_keys))


Trusted = Annotated[bool, Depends(trusted)]


async def may_see_all(trusted: Trusted, context: ServiceContext) -> None:
    """Dependency of routes that show pictures in any size, or give their pixels. Raises NotOffered."""
    if context.settings.presets_only and not trusted:
        raise NotOffered("without a key pictures are shown by presets: /images/{id}?preset=")


async def signing_key(key: ApiKey, context: ServiceContext) -> str | None:
    """Dependency: the key to sign URLs with in an answer to whoever holds an API key; None: they stay plain.

    A signed URL of a description opens that one, and gives no others away.
    """
    settings = context.settings
    if settings.url_keys and settings.api_keys and is_api_key(key, settings.api_keys):
        return settings.url_keys[0].get_secret_value()
    return None


SigningKey = Annotated[str | None, Depends(signing_key)]


def readable_by_all(request: Request, context: Context) -> bool:
    """Whether the URL alone opens what it names; else no shared cache may keep the answer.

    Where everybody is shown presets only, what was asked for with a key may not be for everybody.
    """
    settings = context.settings
    if settings.presets_only and not settings.url_keys and carries_key(request):
        return False
    try:
        require_signature(*signed_target(request), settings.url_keys)
    except Forbidden:
        return False
    return True


async def may_list(
    request: Request, key: ApiKey, _: Annotated[str | None, Security(SIGNED_URL)], context: ServiceContext
) -> None:
    """Dependency of the listing, private where URLs are signed. Raises Unauthorized or Forbidden."""
    if context.settings.url_keys and context.settings.api_keys:
        require_api_key(key, context.settings.api_keys)
    else:
        require_signature(*signed_target(request), context.settings.url_keys)
