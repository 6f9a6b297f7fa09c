"""Leader or helper as in production, with a tap on what it receives: ``python -m simulations.demo.service``."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

os.environ["FLWR_TELEMETRY_ENABLED"] = "0"

import uvicorn

from simulations.demo.tap import Tap


def main() -> None:
    """Serve one role on the loopback interface until it is told to stop."""
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=("leader", "helper"))
    parser.add_argument("--dir", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--tap", type=Path, required=True)
    arguments = parser.parse_args()
    host = f"127.0.0.1:{arguments.port}"
    if arguments.role == "leader":
        from aggregator.leader.app import create_app as leader
        from aggregator.settings import LeaderSettings

        app = leader(LeaderSettings.read(arguments.dir, hosts=(host,)))
    else:
        from aggregator.helper.app import create_app as helper
        from aggregator.settings import HelperSettings

        app = helper(HelperSettings.read(arguments.dir, hosts=(host,)))
    uvicorn.run(
        Tap(app, arguments.tap),
        host="127.0.0.1",
        port=arguments.port,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=3,
    )


if __name__ == "__main__":
    main()
