"""Debian's Varnish and Caddy with the shipped configurations."""

from pathlib import Path

from tests.deploy.front import Front, changed, installed
from tests.deploy.shipped import DOCKER


class Varnish(Front):
    """Varnish on one port of this machine before a service on another."""

    def __init__(self, folder: Path, port: int, service: int) -> None:
        program = installed("varnishd")
        super().__init__(folder, port)
        config = folder / "compass.vcl"
        config.write_text(changed(DOCKER / "varnish/compass.vcl", ('"8000"', f'"{service}"')))
        listen = f"127.0.0.1:{self.port}"
        self.command = [program, "-F", "-j", "none", "-n", str(folder / "work"), "-a", listen]
        self.command += ["-f", str(config), "-s", "malloc,64m"]


class Caddy(Front):
    """Caddy before a service, or a cache, on a port of this machine; without certificates."""

    def __init__(self, folder: Path, port: int) -> None:
        program = installed("caddy")
        super().__init__(folder)
        config = folder / "Caddyfile"
        config.write_text(
            "{\n\tadmin off\n}\n"
            + changed(
                DOCKER / "caddy/Caddyfile",
                ("img.example.org {", f"http://127.0.0.1:{self.port} {{"),
                ("localhost:8000", f"127.0.0.1:{port}"),
            )
        )
        self.command = [program, "run", "--config", str(config), "--adapter", "caddyfile"]
        self.environment = {"XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
