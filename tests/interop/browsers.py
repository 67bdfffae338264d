"""Headless browsers without a driver: started on a page with a fresh profile and no traffic of their own."""

import os
import signal
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

CHROMIUM_FLAGS = [
    "--headless=new",
    "--no-sandbox",  # or it refuses to run as root
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-default-browser-check",
    "--allow-loopback-in-peer-connection",  # for hosts that have no other address
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-popup-blocking",  # for pages that open tabs
    "--disable-quic",
    "--disable-sync",
    "--metrics-recording-only",
]

FIREFOX_PREFERENCES = {
    "app.normandy.enabled": False,
    "app.update.enabled": False,
    "browser.newtabpage.enabled": False,
    "browser.pagethumbnails.capturing_disabled": True,  # which loads pages a second time, out of sight
    "browser.region.network.url": "",
    "browser.safebrowsing.downloads.enabled": False,
    "browser.safebrowsing.malware.enabled": False,
    "browser.safebrowsing.phishing.enabled": False,
    "browser.search.update": False,
    "browser.shell.checkDefaultBrowser": False,
    "browser.startup.homepage_override.mstone": "ignore",
    "datareporting.healthreport.uploadEnabled": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "dom.disable_open_during_load": False,  # for pages that open tabs
    "dom.push.connection.enabled": False,
    "extensions.getAddons.cache.enabled": False,
    "extensions.systemAddon.update.enabled": False,
    "extensions.update.enabled": False,
    "media.gmp-manager.updateEnabled": False,
    "media.gmp-manager.url": "",
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "network.dns.disablePrefetch": True,
    "network.prefetch-next": False,
    "network.trr.mode": 5,
    "services.settings.server": "data:,",
    "toolkit.telemetry.enabled": False,
    "toolkit.telemetry.unified": False,
}


@dataclass(frozen=True)
class Browser:
    """A browser to start: `prepare` fills a fresh profile folder and gives the command line, less the URL."""

    name: str
    prepare: Callable[[Path], list[str]]


def chromium(program: str, *, shows_addresses: bool) -> Browser:
    """Chromium signals host addresses only to pages that may use the camera; to others, names that end in .local."""
    media = ["--use-fake-ui-for-media-stream"] if shows_addresses else []

    def prepare(profile: Path) -> list[str]:
        return [program, *CHROMIUM_FLAGS, *media, f"--user-data-dir={profile}"]

    return Browser("Chromium", prepare)


def firefox(program: str) -> Browser:
    def prepare(profile: Path) -> list[str]:
        (profile / "user.js").write_text("".join(_preference(*item) for item in FIREFOX_PREFERENCES.items()))
        return [program, "--headless", "--no-remote", "--profile", str(profile)]

    return Browser("Firefox", prepare)


def _preference(name: str, value: bool | int | str) -> str:
    literal = f'"{value}"' if isinstance(value, str) else str(value).lower()
    return f'user_pref("{name}", {literal});\n'


@asynccontextmanager
async def open_browser(browser: Browser, profile: Path, url: str) -> AsyncIterator[None]:
    """Start the browser on `url`; when the scope is left, end it with all its processes."""
    process = await trio.lowlevel.open_process(
        [*browser.prepare(profile), url],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"HOME": str(profile)},
        start_new_session=True,
    )
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        with trio.CancelScope(shield=True):
            await process.wait()
