// What the pages do beyond links: start and steer runs, and keep what is marked `data-live` up to date.
// All HTML comes from the server, escaped there; this script never builds any from data.

const note = document.getElementById("note");
const body = document.body;

function say(text) {
  note.textContent = text;
  clearTimeout(say.timer);
  say.timer = setTimeout(() => { note.textContent = ""; }, 8000);
}

async function why(answer) {
  try {
    return (await answer.json()).error.message;
  } catch {
    return `the server answered ${answer.status}`;
  }
}

// -- times in the reader's own zone ------------------------------------------------------------------

function localTimes(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    time.title = time.textContent;
    time.textContent = at.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });
  }
}

// -- keeping parts up to date -------------------------------------------------------------------------

// Scrolled places, open details, the focus and half-typed text survive an exchange.
function exchange(old, fresh) {
  const scrolled = [...old.querySelectorAll(".scroll, .graph, pre")].map(each => [each.scrollLeft, each.scrollTop, each.scrollTop + each.clientHeight >= each.scrollHeight - 4]);
  const opened = [...old.querySelectorAll("details")].map(each => each.open);
  const focused = old.contains(document.activeElement) ? selector(document.activeElement) : null;
  old.replaceWith(fresh);
  fresh.querySelectorAll(".scroll, .graph, pre").forEach((each, i) => {
    if (!scrolled[i]) return;
    each.scrollLeft = scrolled[i][0];
    each.scrollTop = each.matches(".log") && scrolled[i][2] ? each.scrollHeight : scrolled[i][1];
  });
  fresh.querySelectorAll("details").forEach((each, i) => { each.open = opened[i] ?? each.open; });
  if (focused) fresh.querySelector(focused)?.focus({ preventScroll: true });
}

function selector(element) {
  for (const name of ["id", "href", "data-post", "name"]) {
    const value = element.getAttribute(name);
    if (value) return `${element.localName}[${name}="${CSS.escape(value)}"]`;
  }
  return null;
}

let fetching = null;
let again = false;

async function refresh() {
  if (fetching) { again = true; return fetching; }
  const began = performance.now();
  fetching = exchangeAll();
  try {
    await fetching;
  } catch {
    say("The server does not answer; trying again.");
  }
  // a page that is costly to make is made less often
  const rest = Math.max(250, 3 * (performance.now() - began));
  setTimeout(() => { fetching = null; if (again) { again = false; refresh(); } }, rest);
}

async function exchangeAll() {
  const answer = await fetch(location.href, { headers: { accept: "text/html" }, credentials: "same-origin" });
  if (answer.status === 401) { location.reload(); return; }
  if (!answer.ok) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  localTimes(fresh);
  for (const part of document.querySelectorAll("[data-live]")) {
    const next = fresh.getElementById(part.id);
    const typing = part.contains(document.activeElement) && document.activeElement.matches("input, textarea, select");
    if (next && !typing && next.outerHTML !== part.outerHTML) exchange(part, document.adoptNode(next));
  }
  const events = fresh.body.dataset.events;
  if (events && !stream) listen(events);
}

let stream = null;

function listen(path) {
  stream = new EventSource(path);
  const end = () => { stream.close(); stream = null; refresh(); };
  stream.addEventListener("run", refresh);
  stream.addEventListener("change", refresh);
  stream.addEventListener("end", end);
  stream.addEventListener("gone", end);
  stream.onerror = () => {
    if (stream && stream.readyState === EventSource.CLOSED) {
      stream = null;
      setTimeout(refresh, 2000);
    }
  };
}

if (body.dataset.events) listen(body.dataset.events);
if (body.dataset.refresh) {
  setInterval(() => { if (!document.hidden) refresh(); }, 1000 * Number(body.dataset.refresh));
}
// running times go on although nothing happens
if (body.dataset.revision) setInterval(() => { if (stream && !document.hidden) refresh(); }, 2000);

// -- starting and steering ----------------------------------------------------------------------------

document.addEventListener("click", async event => {
  const button = event.target.closest("button[data-post]");
  if (!button) return;
  if (button.dataset.ask && !confirm(button.dataset.ask)) return;
  button.disabled = true;
  try {
    const answer = await fetch(button.dataset.post, { method: "POST", credentials: "same-origin" });
    say(answer.ok ? `${button.textContent}: done.` : `${button.textContent}: ${await why(answer)}`);
    again = true;
    await refresh();
  } catch {
    say("The server does not answer.");
  }
  button.disabled = false;
});

document.addEventListener("submit", async event => {
  const form = event.target.closest("form[data-start]");
  if (!form) return;
  event.preventDefault();
  const button = form.querySelector("button");
  const headers = { "X-Async": "true", "Content-Type": form.elements.kind.value };
  const id = form.elements["run-id"].value.trim();
  if (id) headers["X-Request-Id"] = id;
  const query = form.elements.query.value.trim().replace(/^\?/, "");
  button.disabled = true;
  try {
    const answer = await fetch(form.dataset.start + (query ? `?${query}` : ""), {
      method: "POST", headers, body: form.elements.payload.value, credentials: "same-origin",
    });
    if (answer.ok) {
      location.href = (await answer.json()).links.page;
      return;
    }
    say(await why(answer));
  } catch {
    say("The server does not answer.");
  }
  button.disabled = false;
});

document.addEventListener("change", event => {
  const form = event.target.closest("form[data-filter]");
  if (form && event.target.matches("select")) form.requestSubmit();
});

localTimes(document);
