// What the pages do beyond links: start and steer runs, and keep what is marked `data-live` up to date.
// All HTML comes from the server, escaped there; this script never builds any from data.

const note = document.getElementById("note");
const body = document.body;

function say(text) {
  note.textContent = text;
  clearTimeout(say.timer);
  say.timer = setTimeout(() => { note.textContent = ""; }, 8000);
}

// As long as nobody answers, what is shown is old: that stands there until somebody does, and is asked again.
let isOld = false;
let asking;

function outdated(reason) {
  if (reason) {
    if (!isOld && "away" in body.dataset) return;  // the page itself says it
    const text = `${reason} What is shown may be old; trying again.`;
    if (note.textContent === "" || isOld) {
      clearTimeout(say.timer);
      if (note.textContent !== text) note.textContent = text;
    }
    isOld = true;
    clearTimeout(asking);
    if (!body.dataset.refresh) asking = setTimeout(refresh, 2000);
  } else if (isOld) {
    isOld = false;
    say("There again: what is shown is up to date.");
  }
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

// Scrolled places, open details and the focus survive an exchange; what somebody types in or has selected
// is left alone.
function exchange(old, fresh) {
  const scrolled = [...old.querySelectorAll(".scroll, .graph, pre")].map(each => [each.scrollLeft, each.scrollTop, atEnd(each)]);
  const opened = [...old.querySelectorAll("details")].map(each => each.open);
  const focused = old.contains(document.activeElement) ? selector(document.activeElement) : null;
  const top = old.scrollTop;
  old.replaceWith(fresh);
  fresh.scrollTop = top;
  fresh.querySelectorAll(".scroll, .graph, pre").forEach((each, i) => {
    if (!scrolled[i]) return;
    each.scrollLeft = scrolled[i][0];
    each.scrollTop = each.matches(".log") && scrolled[i][2] ? each.scrollHeight : scrolled[i][1];
  });
  fresh.querySelectorAll("details").forEach((each, i) => { each.open = opened[i] ?? each.open; });
  if (focused) fresh.querySelector(focused)?.focus({ preventScroll: true });
}

function atEnd(element) {
  return element.scrollTop + element.clientHeight >= element.scrollHeight - 4;
}

function selector(element) {
  for (const name of ["id", "href", "data-post", "name"]) {
    const value = element.getAttribute(name);
    if (value) return `${element.localName}[${name}="${CSS.escape(value)}"]`;
  }
  return null;
}

function inUse(part) {
  const selected = getSelection();
  return (part.contains(document.activeElement) && document.activeElement.matches("input, textarea, select"))
    || (!selected.isCollapsed && part.contains(selected.anchorNode));
}

let fetching = null;
let again = false;

async function refresh() {
  if (fetching) { again = true; return fetching; }
  const began = performance.now();
  fetching = exchangeAll();
  try {
    outdated(await fetching);
  } catch {
    outdated("The server does not answer.");
  }
  // a page that is costly to make is made less often
  const rest = Math.max(250, 3 * (performance.now() - began));
  setTimeout(() => { fetching = null; if (again) { again = false; refresh(); } }, rest);
}

let turn = 0;

// Brings what is marked up to date. Answers why not, where the server cannot tell just now.
async function exchangeAll() {
  const mine = ++turn;
  const answer = await fetch(location.href, { headers: { accept: "text/html" }, credentials: "same-origin" });
  if (answer.status === 401) { location.reload(); return; }
  const text = await answer.text();
  if (mine !== turn) return;  // somebody went on meanwhile
  const fresh = new DOMParser().parseFromString(text, "text/html");
  if (answer.status >= 500) return fresh.querySelector("main p")?.textContent ?? `The server answered ${answer.status}.`;
  if ("away" in body.dataset) { location.reload(); return; }
  if (!answer.ok) return;
  localTimes(fresh);
  for (const part of document.querySelectorAll("[data-live]")) {
    const next = fresh.getElementById(part.id);
    if (next && !inUse(part) && next.outerHTML !== part.outerHTML) exchange(part, document.adoptNode(next));
  }
  const events = fresh.body.dataset.events;
  if (events && !stream) listen(events);
}

// -- going about within a page: only what is different is exchanged -------------------------------------

let opener = null;
let search = location.search;

async function visit(url, from) {
  const closes = from.hasAttribute("data-close");
  if (!closes) opener = `#${from.closest("[data-live]")?.id ?? "main"} ${selector(from)}`;
  history.pushState(null, "", url);
  search = location.search;
  getSelection().removeAllRanges();
  try {
    outdated(await exchangeAll());
  } catch {
    location.reload();
    return;
  }
  if (closes) {
    document.querySelector(opener ?? "#nodes a")?.focus({ preventScroll: true });
    return;
  }
  const place = document.getElementById(url.hash.slice(1));
  place?.querySelector("h2")?.focus({ preventScroll: true });
  place?.scrollIntoView({ block: "nearest" });
}

document.addEventListener("click", event => {
  const link = event.target.closest("a[data-soft]");
  if (!link || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  const url = new URL(link.getAttribute("href"), location.href);
  if (url.pathname !== location.pathname) return;
  event.preventDefault();
  visit(url, link);
});

addEventListener("popstate", () => {
  if (location.search === search) return;
  search = location.search;
  exchangeAll().then(outdated, () => location.reload());
});

document.addEventListener("keydown", event => {
  if (event.key === "Escape") document.querySelector("a[data-close]")?.click();
});

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

async function start(flow, headers, body) {
  const answer = await fetch(flow, {
    method: "POST", headers: { "X-Async": "true", ...headers }, body, credentials: "same-origin",
  });
  if (answer.ok) location.href = (await answer.json()).links.page;
  else say(await why(answer));
}

document.addEventListener("click", async event => {
  const button = event.target.closest("button[data-start-again]");
  if (!button) return;
  button.disabled = true;
  try {
    const input = await fetch(button.dataset.payload, { credentials: "same-origin" });
    if (input.ok) {
      const headers = { "Content-Type": input.headers.get("Content-Type") };
      await start(button.dataset.startAgain, headers, await input.arrayBuffer());
    } else {
      say(await why(input));
    }
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
  const headers = { "Content-Type": form.elements.kind.value };
  const id = form.elements["run-id"].value.trim();
  if (id) headers["X-Request-Id"] = id;
  const query = form.elements.query.value.trim().replace(/^\?/, "");
  button.disabled = true;
  try {
    await start(form.dataset.start + (query ? `?${query}` : ""), headers, form.elements.payload.value);
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
for (const log of document.querySelectorAll(".log")) log.scrollTop = log.scrollHeight;
