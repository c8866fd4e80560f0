// A formula inside a line that is wider than the line scrolls in its own box.
function fitFormulas() {
  for (const formula of document.querySelectorAll('mjx-container:not([display])')) {
    formula.classList.remove('wide')
    const line = formula.closest('p, li, td, dd, figcaption, div')
    formula.classList.toggle('wide', formula.firstChild.offsetWidth > line.clientWidth)
  }
}
// A figure drawn for a wide screen keeps letters of a legible size on a phone, and scrolls.
function fitFigures() {
  for (const image of document.querySelectorAll('figure img')) {
    const box = image.closest('.figure-box') ?? document.createElement('div')
    if (!box.isConnected) image.replaceWith(box), box.append(image)
    box.className = image.naturalWidth > 600 ? 'figure-box large' : 'figure-box'
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0
    else box.removeAttribute('tabindex')
  }
}
window.addEventListener('load', fitFigures)
window.addEventListener('resize', fitFigures)
window.addEventListener('load', () => window.MathJax?.startup?.promise.then(fitFormulas))
window.addEventListener('resize', fitFormulas)
