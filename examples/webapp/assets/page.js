// Keeps a job's page up to date: see events.go for what comes. Without this
// script the page loads itself again every few seconds.
"use strict";

const job = document.getElementById("job");
const statusBox = document.getElementById("status");
const connection = document.getElementById("connection");
const cancel = document.getElementById("cancel");
const retryAfter = 2000; // ms

function replaceRow(e) {
  const { call, html } = JSON.parse(e.data);
  const row = document.getElementById("file-" + call);
  if (!row || !row.classList.contains("pending")) return; // it stands there already
  const fresh = document.createElement("template");
  fresh.innerHTML = html;
  row.replaceWith(fresh.content.firstElementChild);
}

function replaceStatus(e) {
  const { html, state, done, calls } = JSON.parse(e.data);
  // Only what has changed, so that a screen reader is not told the same again.
  const fresh = document.createElement("template");
  fresh.innerHTML = html;
  const old = [...statusBox.children];
  const now = [...fresh.content.children];
  now.forEach((element, i) => {
    if (old[i].outerHTML === element.outerHTML) return;
    if (element.localName === "progress") {
      old[i].value = element.value;
      old[i].max = element.max;
      old[i].textContent = element.textContent;
    } else {
      old[i].replaceWith(element);
    }
  });
  job.dataset.state = state;
  document.title = `${done} of ${calls} · File reports`;
}

function follow() {
  const events = new EventSource(job.dataset.events);
  events.addEventListener("open", () => { connection.hidden = true; });
  events.addEventListener("row", replaceRow);
  events.addEventListener("status", replaceStatus);
  events.addEventListener("end", () => {
    events.close();
    cancel.hidden = true;
    job.dataset.followed = "to the end";
  });
  events.addEventListener("error", () => {
    connection.hidden = false;
    // The browser tries again by itself, unless the answer was no stream.
    if (events.readyState === EventSource.CLOSED) setTimeout(follow, retryAfter);
  });
}

follow();
