"""The gateway under uvicorn, on a Ray that is kept on loopback; takes uvicorn's options.

Without this Ray would look for the cluster at the machine's outward address (see `deploy.confine`).
"""

from __future__ import annotations

from deploy.confine import keep_ray_on_loopback


def main() -> None:
    import uvicorn

    keep_ray_on_loopback()
    uvicorn.main()


if __name__ == "__main__":
    main()
