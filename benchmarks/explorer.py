"""Page weights, times to first render, and the explorer's updates a second, in Chromium.

    make bench

builds the book first. Every page is opened in a fresh browser context, so nothing is cached; the
explorer is moved by its seed slider, one update for each frame that the browser draws.
"""

from browser import BOOK, launched, opened, served
from playwright.sync_api import Browser

PAGE = """() => {
  const entries = performance.getEntries()
  const paint = performance.getEntriesByName('first-contentful-paint')[0].startTime
  const bytes = entries.reduce((sum, e) => sum + (e.decodedBodySize || 0), 0)
  return [bytes, paint]
}"""
MOVE = """([D, seconds]) => new Promise(done => {
  const slide = (name, value) => {
    const slider = document.getElementById('explorer-' + name)
    slider.value = value
    slider.dispatchEvent(new Event('input'))
  }
  slide('D', D)
  const seed = document.getElementById('explorer-seed-value'), start = performance.now()
  const shown = new Set()
  let updates = 0, last = seed.textContent
  const frame = now => {
    if (seed.textContent !== last) { updates++; last = seed.textContent }
    if (now - start > 1000 * seconds) return done(updates / (now - start) * 1000)
    slide('seed', (updates + 1) % 100)
    requestAnimationFrame(frame)
  }
  requestAnimationFrame(frame)
})"""
COST = """([D, network, times]) => {
  const setting = allowed({...SETTINGS.seizure, D, T: Infinity, seed: 0, network})
  const start = performance.now()
  for (let seed = 0; seed < times; seed++) update({...setting, seed})
  return [setting.T, (performance.now() - start) / times]
}"""


def pages(browser: Browser, address: str) -> None:
    """Print the weight and the times of every page."""
    print(f"{'page':<36} {'HTML kB':>8} {'all kB':>8} {'paint ms':>9} {'ready ms':>9}")
    for file in sorted(BOOK.glob("book/*.html")):
        with opened(browser, f"{address}/book/{file.name}") as page:
            bytes_, paint = page.evaluate(PAGE)
            ready = page.evaluate("performance.getEntriesByName('ready')[0].startTime")
        size = file.stat().st_size
        print(f"{file.stem:<36} {size / 1e3:8.0f} {bytes_ / 1e3:8.0f} {paint:9.0f} {ready:9.0f}")


def explorer(browser: Browser, address: str) -> None:
    """Print how often a second the explorer can follow a slider."""
    with opened(browser, f"{address}/book/explorer.html") as page:
        for D in (400, 1000, 1600):
            for network in ("extrinsic", "post"):
                T, cost = page.evaluate(COST, [D, network, 30])
                print(f"{network}, D = {D}, T = {T}: {cost:.1f} ms an update")
            rate = page.evaluate(MOVE, [D, 4])
            print(f"post, D = {D}, T = {T}: {rate:.0f} updates a second")


if __name__ == "__main__":
    with served(BOOK) as address, launched() as browser:
        explorer(browser, address)
        pages(browser, address)
