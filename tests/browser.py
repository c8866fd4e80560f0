"""What the browser tests share: the built book on loopback, and everything wrong with a page."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from shutil import which
from threading import Thread
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright

BOOK = Path(__file__).parent.parent / "_build" / "html"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
CHROMIUM = next(filter(None, map(which, NAMES)), None)
LOOPBACK = ("localhost", "127.0.0.1")
OFFLINE = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"

# Everything below runs in the page and returns one line for each fault found.
CHECKS = {
    "weight": """() => [performance.getEntries().reduce((n, e) => n + (e.decodedBodySize || 0), 0)]
      .filter(bytes => bytes > 3e6).map(bytes => `${bytes} bytes with all that it loads`)""",
    "formula": """() => [
      ...[...document.querySelectorAll('.math:not(:has(mjx-container))')].map(e => e.textContent),
      ...[...document.querySelectorAll('mjx-merror, [data-mjx-error]')].map(e => e.outerHTML)]""",
    "markup": r"""() => [...document.querySelectorAll('article *, main *')]
      .filter(e => !e.closest('pre, code, script, style, noscript, mjx-container, .math'))
      .flatMap(e => [...e.childNodes]).filter(n => n.nodeType === 3).map(n => n.data.trim())
      .filter(text => /\\[(\[]|\\[a-z]{2}|\$|\{[a-z:]+\}`/.test(text))""",
    "image": r"""() => [...document.querySelectorAll('img, canvas')]
      .filter(e => !(e.alt || e.ariaLabel || '').trim() || e.naturalWidth === 0
        || /\.(png|svg|jpe?g|gif|webp)$/i.test(e.alt))
      .map(e => (e.naturalWidth === 0 ? 'not loaded: ' : 'no alt text: ') + e.outerHTML)""",
    "overflow": """() => {
      const width = document.documentElement.clientWidth
      const scrolls = e =>
        e && (/auto|scroll/.test(getComputedStyle(e).overflowX) || scrolls(e.parentElement))
      const beyond = e => {
        const {left, right} = e.getBoundingClientRect()
        return e.checkVisibility() && (right > width + 1 || left < -1 && e.closest('main'))
      }
      const wide = [...document.querySelectorAll('body *')].filter(e => beyond(e)
        && !e.closest('mjx-assistive-mml') && getComputedStyle(e).position !== 'fixed'
        && !scrolls(e.parentElement))
      const whole = document.documentElement.scrollWidth > width ? ['the page scrolls'] : []
      return [...whole, ...wide.slice(0, 3).map(e => e.outerHTML)]
    }""",
    "hint": """() => [...document.querySelectorAll('link[rel]')]
      .filter(e => /preconnect|dns-prefetch/.test(e.rel)).map(e => e.outerHTML)""",
    "table": """() => [...document.querySelectorAll('main table')]  // of numbers: by key
      .filter(e => e.scrollWidth > e.clientWidth + 1)
      .filter(e => !e.matches('.dataframe[tabindex="0"]')).map(e => e.outerHTML)""",
    "axe": """() => violations([])""",
    "axe but for code": """() => violations(['.highlight'])""",
    "contrast around": """() => violations(['article'], {runOnly: ['color-contrast']})""",
}


AXE = (
    AXE_SCRIPT
    + """
window.violations = async (apart, options = {}) => (await axe.run(
    {exclude: [['mjx-container'], ...apart.map(part => [part])]},
    {resultTypes: ['violations'], preload: false, ...options})).violations
  .filter(rule => ['serious', 'critical'].includes(rule.impact))
  .flatMap(rule => rule.nodes.map(n => `${rule.id}: ${n.html} ${n.failureSummary}`))
null // else Playwright would call the function
"""
)


UNFOLD = """async () => {
  document.querySelectorAll('details').forEach(e => { e.open = true })
  document.querySelectorAll('.toggle-hidden').forEach(e => { e.classList.remove('toggle-hidden') })
  document.getAnimations().forEach(e => { e.finish() })
  for (let frame = 0; frame < 3; frame++) await new Promise(requestAnimationFrame)
}"""


class _Links(HTMLParser):
    """The addresses that a file refers to and the ids that others may refer to."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.ids: set[str] = set()
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what the tag refers to and is called."""
        for name, value in attrs:
            if (name == "id" or (tag, name) == ("a", "name")) and value:
                self.ids.add(value)
            if name in ("href", "src") and value:
                self.links.add(value)


_read = cache(_Links)


def broken_links(folder: Path, page: str) -> list[str]:
    """The links of a page, anchors included, that lead to nothing in its folder."""
    broken = []
    for link in sorted(_read(folder / page).links):
        target, anchor = urldefrag(urljoin(f"http://book/{page}", link))
        if urlsplit(target).scheme == "file" or urlsplit(target).hostname in LOOPBACK:
            broken.append(f"link: {link}")
        if urlsplit(target).netloc != "book" or urlsplit(target).scheme != "http":
            continue
        file = folder / unquote(urlsplit(target).path).lstrip("/")
        found = file.is_file() and (
            not anchor or file.suffix != ".html" or unquote(anchor) in _read(file).ids | {"top"}
        )
        broken += [] if found else [f"link: {link}"]
    return broken


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address on loopback at which the folder is served."""
    handler = partial(_Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        """Say nothing."""


@contextmanager
def launched() -> Iterator[Browser]:
    """Chromium that can reach loopback and nothing else."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", OFFLINE]
        )
        yield browser
        browser.close()


@contextmanager
def opened(browser: Browser, url: str, *, width: int = 1280, **options: str) -> Iterator[Page]:
    """A page whose scripts and formulas are done; options as for a browser context."""
    context = browser.new_context(viewport={"width": width, "height": 900}, **options)  # type: ignore[arg-type]
    page = context.new_page()
    page.set_default_timeout(30_000)
    page.goto(url, wait_until="load")
    settle(page)
    yield page
    context.close()


def settle(page: Page) -> None:
    """Wait until formulas are typeset and fonts are there; open what folds; add axe-core."""
    page.evaluate("async () => { await window.MathJax?.startup?.promise }")
    page.evaluate("async () => { await document.fonts.ready }")
    page.evaluate("() => { performance.mark('ready') }")
    page.evaluate(UNFOLD)
    page.evaluate(AXE)


def faults(browser: Browser, url: str) -> list[str]:
    """Everything wrong with a page, one line each: on a wide screen, light and dark, on a phone."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    page, found = context.new_page(), list[str]()

    def sent(request: Request) -> None:
        address = urlsplit(request.url)
        if address.hostname != "127.0.0.1" and address.scheme not in ("data", "blob"):
            found.append(f"request: {request.url}")

    def said(message: ConsoleMessage) -> None:
        if message.type == "error":
            found.append(f"console: {message.text} {message.location['url']}")

    page.on("request", sent)
    page.on("console", said)
    page.on("pageerror", lambda error: found.append(f"console: {error}"))
    page.goto(url)
    settle(page)
    found += _check(page, "weight", "formula", "markup", "image", "hint", "axe")
    page.set_viewport_size({"width": 375, "height": 800})
    page.wait_for_timeout(500)  # the theme looks again at what scrolls
    found += _check(page, "axe but for code")
    page.emulate_media(color_scheme="dark")
    page.reload()
    settle(page)
    found += _check(page, "overflow", "table", "axe")
    page.set_viewport_size({"width": 1280, "height": 900})
    found += _check(page, "contrast around")
    context.close()
    return list(dict.fromkeys(found))


def _check(page: Page, *names: str) -> list[str]:
    return [f"{name}: {line}"[:600] for name in names for line in page.evaluate(CHECKS[name])]
