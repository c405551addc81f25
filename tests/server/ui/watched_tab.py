"""A browser tab that shows the dashboard, with everything that went wrong in it."""

from __future__ import annotations

from playwright.sync_api import expect

EMPTY_VIEW = "nowhere"
INJECTED = "<img src='/static/build/icon.svg' onload='window.pwned = 1'>"
INSERT = """(html) => {
  const box = document.createElement("p");
  box.innerHTML = html;
  document.body.append(box);
}"""
REPORT_VIOLATIONS = """document.addEventListener("securitypolicyviolation", (event) =>
  window.reported(`${event.effectiveDirective} ${event.blockedURI} ${event.sample}`));"""
HURRY = """(() => {
  const { setTimeout } = window;
  const isInterval = (ms) => ms >= 5000 && ms <= 15000;
  window.setTimeout = (call, ms, ...values) => setTimeout(call, isInterval(ms) ? ms / 2.5 : ms, ...values);
})();"""
"""Lets pages that ask for news every five seconds do so every two, as the page of a run does: no more often, because
tests wait until a page is idle."""
SHOW = """(hash) => new Promise((resolve, reject) => {
  if (location.hash === hash) reject(new Error(`${hash} is shown already`));
  window.addEventListener("hashchange", resolve, { once: true }); // after the router, which listens since the start
  location.hash = hash;
})"""
FOREIGN = """() => {
  const address = /^(xlink:)?href$|^src$|action$/i;
  const runs = ({ name, value }) => /^on/i.test(name) || (address.test(name) && /^\\s*javascript:/i.test(value));
  const active = (node) => [...node.attributes].some(runs);
  const isDecoration = (node) => node.matches("i") && node.closest(".legend, .share-bar, .shift-bar");
  return [...document.querySelectorAll("*")].filter((node) =>
    (node.matches("script:not(#page-modules[type='application/json'])") &&
      !/^static\\/[0-9a-f]+\\/(app|core\\/(early|theme))\\.js$/.test(node.getAttribute("src"))) ||
    (node.matches("img, iframe, object, embed, base, b, i, em") && !isDecoration(node)) ||
    (node.matches("svg:not([class])")) || active(node))
    .map((node) => node.outerHTML.slice(0, 200));
}"""


class WatchedTab:
    """A browser tab, with all errors, policy violations and dialogs that it caused.

    Tests share a tab and change the hash, which is quicker than loading the page.
    """

    def __init__(self, tab):
        self.tab = tab
        self.reports = []
        self.errors = []
        self.dialogs = []
        tab.set_default_timeout(60_000)
        tab.expose_function("reported", lambda text: self.reports.append(text))  # noqa: PLW0108 - playwright cannot take a built-in
        tab.add_init_script(REPORT_VIOLATIONS)
        tab.add_init_script(HURRY)
        tab.on("console", self._keep_error)
        tab.on("pageerror", lambda error: self.errors.append(str(error)))
        tab.on("dialog", self._dismiss)

    def _keep_error(self, message):
        if message.type in {"error", "warning"}:
            self.errors.append(message.text)

    def _dismiss(self, dialog):
        self.dialogs.append(dialog.message)
        dialog.dismiss()

    def load(self, view):
        """Reload the page with this view in its address."""
        self.tab.goto("about:blank")
        self.tab.goto(f"/#/{view}")

    def show(self, view):
        """Change the hash to another view, without a load. On return nothing of the view before is shown."""
        self.tab.evaluate(SHOW, f"#/{view}")

    def rest(self):
        """Leave the view, as if the tab was new: nothing is polled, and neither mouse nor storage has any effect."""
        self.tab.mouse.move(0, 0)
        self.tab.goto(f"/#/{EMPTY_VIEW}")
        self.tab.get_by_role("heading", name="Page not found").wait_for()
        self.tab.evaluate("localStorage.clear()")

    def take_records(self):
        """Return the errors, policy violations and dialogs so far, and forget them."""
        records = (self.reports, self.errors, self.dialogs)
        self.reports, self.errors, self.dialogs = [], [], []
        return records

    def inject(self):
        """Insert HTML, as a page would do that does not escape a name."""
        self.tab.evaluate(INSERT, INJECTED)
        self.tab.locator("p > img").wait_for(state="attached")

    def shows(self, *texts):
        """Check that the page shows every text literally, and that no text became an element or ran."""
        for text in texts:
            expect(self.tab.locator("body")).to_contain_text(text)
            assert text in self.tab.locator("body").text_content()
        assert self.tab.evaluate(FOREIGN) == []
