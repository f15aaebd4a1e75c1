"""The store as commands use it: the embedded one is started where no service runs on it."""

from contextlib import AsyncExitStack

from service.errors import StoreUnavailable
from service.metrics import Metrics
from service.settings import Settings
from service.storage.store import Store
from service.storage.valkey import EmbeddedValkey


async def open_store(settings: Settings, stack: AsyncExitStack, create: bool = False) -> Store:
    """The store that the settings name, closed by ``stack``. Raises StoreUnavailable if there is none, unless
    it is to be made.
    """
    url = settings.redis_url
    if url is None:
        if not create and not (settings.data / "appendonlydir").is_dir():
            raise StoreUnavailable(f"{settings.data} holds no store: set COMPASS_DATA or COMPASS_REDIS_URL")
        valkey = EmbeddedValkey(settings.data)
        url = valkey.url
        if not await valkey.answers():
            stack.push_async_callback(valkey.stop)
            await valkey.start()
    store = Store(url, settings, Metrics())
    stack.push_async_callback(store.close)
    return store
