// Keeps the part of a page that has the id "live" up to date: the server renders
// it, and sends it as an event when it has changed. What is already there is
// changed where it differs, so that focus, selection and open details stay.
"use strict";
(() => {
  const page = document.body.dataset.live;
  const root = document.getElementById("live");
  if (!page || !root || !window.EventSource) return;
  const pulse = document.getElementById("pulse");
  const pause = document.getElementById("pause");
  let source = null;

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

  function open() {
    source = new EventSource("/events?page=" + encodeURIComponent(page));
    source.addEventListener("open", () => say("live", "on"));
    source.addEventListener("error", () => say(source.readyState === EventSource.CLOSED ? "stopped" : "reconnecting", "off"));
    source.addEventListener("page", (e) => {
      const next = document.createElement("template");
      next.innerHTML = JSON.parse(e.data);
      morph(root, next.content);
      say("live", "on");
    });
  }

  function close(text) {
    if (source) source.close();
    source = null;
    say(text, "");
  }

  pause.hidden = false;
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
