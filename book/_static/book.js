// A formula inside a line that is wider than the line scrolls in its own box.
function fitFormulas() {
  for (const formula of document.querySelectorAll('mjx-container:not([display])')) {
    formula.classList.remove('wide')
    const line = formula.closest('p, li, td, dd, figcaption, div')
    formula.classList.toggle('wide', formula.firstChild.offsetWidth > line.clientWidth)
  }
}
window.addEventListener('load', () => window.MathJax?.startup?.promise.then(fitFormulas))
window.addEventListener('resize', fitFormulas)
