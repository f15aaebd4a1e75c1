"""Health check of the image: exits with 0 if the service in this container is alive, else with 1."""

import os
import sys
import urllib.request

port = os.environ.get("COMPASS_PORT", "8000")
try:
    urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=4).close()
except OSError as error:
    sys.exit(f"/healthz: {error}")
