// Keeps the part of a page that has the id "live" up to date: the server renders
// it, and sends it as an event when it has changed. What is already there is
// changed where it differs, so that focus, selection and open details stay.
"use strict";
(() => {
  const page = document.body.dataset.live;
  const root = document.getElementById("live"); // missing on a page that could not be read
  if (!page || !window.EventSource) return;
  const pulse = document.getElementById("pulse");
  const pause = document.getElementById("pause");
  const notice = document.getElementById("stale");
  const patience = 4200; // ms without news after which the page is stale; a round ends within 4 s of the one before
  let source = null;
  let at = Number(document.body.dataset.at); // when what is shown was read, by the monitor's clock
  let heard = 0; // when the last news came, by performance.now()

  function say(text, state) {
    if (pulse.textContent !== text) pulse.textContent = text;
    pulse.className = "pulse " + state;
  }

  function same(a, b) {
    return a.nodeType === b.nodeType && a.nodeName === b.nodeName && (a.id || "") === (b.id || "");
  }

  function morph(now, next) {
    let at = now.firstChild;
    for (let want = next.firstChild; want;) {
      const following = want.nextSibling;
      if (at && !same(at, want)) {
        // Perhaps the one that is wanted is further on: then what is before it goes.
        let found = at.nextSibling;
        while (found && !(same(found, want) && want.id)) found = found.nextSibling;
        if (found) {
          while (at !== found) { const gone = at; at = at.nextSibling; gone.remove(); }
        }
      }
      if (at && same(at, want)) {
        update(at, want);
        at = at.nextSibling;
      } else {
        now.insertBefore(want, at);
      }
      want = following;
    }
    while (at) { const gone = at; at = at.nextSibling; gone.remove(); }
  }

  function update(now, next) {
    if (now.nodeType !== Node.ELEMENT_NODE) {
      if (now.nodeValue !== next.nodeValue) now.nodeValue = next.nodeValue;
      return;
    }
    for (const a of [...now.attributes]) {
      if (!next.hasAttribute(a.name) && !(now.nodeName === "DETAILS" && a.name === "open")) now.removeAttribute(a.name);
    }
    for (const a of next.attributes) {
      if (now.getAttribute(a.name) !== a.value) now.setAttribute(a.name, a.value);
    }
    morph(now, next);
  }

  // The page says "live" only while the monitor says that it has just read it anew.
  function fresh(when) {
    heard = performance.now();
    at = when;
    if (!root) return location.reload();
    notice.hidden = true;
    document.body.classList.remove("stale");
    say("live", "on");
  }

  function stale(why) {
    if (root) {
      const text = "Stale since " + new Date(at).toISOString().slice(0, 19).replace("T", " ") + " UTC. " + why;
      if (notice.textContent !== text) notice.textContent = text;
      notice.hidden = false;
      document.body.classList.add("stale");
    }
    say(root ? "stale" : "waiting", "off");
  }

  function connect() {
    source = new EventSource("/events?page=" + encodeURIComponent(page));
    source.addEventListener("page", (e) => {
      if (!root) return;
      const next = document.createElement("template");
      next.innerHTML = JSON.parse(e.data);
      morph(root, next.content);
    });
    source.addEventListener("fresh", (e) => fresh(JSON.parse(e.data)));
    source.addEventListener("stale", (e) => {
      heard = performance.now();
      stale(JSON.parse(e.data));
    });
  }

  function open() {
    heard = performance.now();
    say("connecting", "");
    connect();
  }

  function close(text) {
    if (source) source.close();
    source = null;
    notice.hidden = true;
    document.body.classList.remove("stale");
    say(text, "");
  }

  // Silence is staleness, whatever broke: Redis, the monitor, or the way to it.
  let refused = 0;
  setInterval(() => {
    if (!source) return;
    const now = performance.now(), closed = source.readyState === EventSource.CLOSED;
    if (now - heard > patience) {
      stale(closed ? "The monitor does not answer, or wants you to log in again." :
        source.readyState === EventSource.OPEN ? "The monitor has no news." : "The monitor does not answer.");
    }
    // A browser gives up on an answer that is no stream, as a proxy's while the
    // monitor restarts.
    if (!closed) refused = 0;
    else if (!refused) refused = now;
    else if (now - refused > 2000) { refused = 0; connect(); }
  }, 250);

  if (root) pause.hidden = false;
  pause.addEventListener("click", () => {
    const paused = pause.getAttribute("aria-pressed") !== "true";
    pause.setAttribute("aria-pressed", String(paused));
    if (paused) close("paused"); else open();
  });
  // A page that nobody sees need not cost anything.
  document.addEventListener("visibilitychange", () => {
    if (pause.getAttribute("aria-pressed") === "true") return;
    if (document.hidden) close("asleep"); else if (!source) open();
  });
  open();
})();
