// One WebSocket: the hub sends the page's parts once a second, this script puts in what changed.
"use strict";
(() => {
  const SILENT_AFTER_MS = 3500;
  const SIGNED_OUT = 4401;
  const badge = document.getElementById("live");
  let socket = null;
  let attempt = 0;
  let lastTick = 0;
  let hubAhead = 0;

  function say(state, text) {
    if (!badge) return;
    badge.dataset.state = state;
    badge.textContent = text;
  }

  // Parsed inside a <template>, so rows of a table survive the parser.
  function put(target, html) {
    const template = document.createElement("template");
    template.innerHTML = html;
    patch(target, template.content);
  }

  // Changes only what differs: focus, selection, open details and hovered titles stay.
  function patch(target, wanted) {
    const news = [...wanted.childNodes];
    news.forEach((fresh, index) => {
      const old = target.childNodes[index];
      if (!old) target.append(fresh);
      else if (!alike(old, fresh)) old.replaceWith(fresh);
      else if (fresh.nodeType === Node.ELEMENT_NODE) patchElement(old, fresh);
      else if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
    });
    while (target.childNodes.length > news.length) target.lastChild.remove();
  }

  function alike(old, fresh) {
    return old.nodeType === fresh.nodeType && old.nodeName === fresh.nodeName && (old.id || "") === (fresh.id || "");
  }

  function patchElement(old, fresh) {
    // A time that was made local stays so while it is the same moment.
    if (old.nodeName === "TIME" && old.getAttribute("datetime") === fresh.getAttribute("datetime")) return;
    for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    for (const { name } of [...old.attributes]) {
      const own = old.nodeName === "DETAILS" && name === "open";
      if (!own && !fresh.hasAttribute(name)) old.removeAttribute(name);
    }
    patch(old, fresh);
  }

  function age(seconds) {
    if (seconds < 60) return `${Math.max(0, Math.floor(seconds))} s`;
    if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
    if (seconds < 172800) return `${Math.floor(seconds / 3600)} h`;
    return `${Math.floor(seconds / 86400)} d`;
  }

  // Ages follow the hub's clock, moments are shown in the viewer's zone; UTC stays in the title.
  function times() {
    const now = Date.now() + hubAhead;
    for (const node of document.querySelectorAll("time")) {
      const moment = Date.parse(node.getAttribute("datetime"));
      const text = node.dataset.as === "age" ? age((now - moment) / 1000) : local(moment, now);
      if (node.textContent !== text) node.textContent = text;
    }
  }

  function local(moment, now) {
    const day = { month: "short", day: "numeric" };
    const clock = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
    const today = new Date(moment).toDateString() === new Date(now).toDateString();
    return new Date(moment).toLocaleString("en-GB", today ? clock : { ...day, ...clock });
  }

  function tick(message) {
    lastTick = Date.now();
    attempt = 0;
    hubAhead = message.now - lastTick;
    for (const [id, html] of Object.entries(message.parts)) {
      const target = document.getElementById(id);
      if (target) put(target, html);
    }
    times();
    say("live", "live");
  }

  function connect() {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const view = encodeURIComponent(location.pathname + location.search);
    const mine = new WebSocket(`${scheme}://${location.host}/live?view=${view}`);
    socket = mine;
    mine.onmessage = (event) => tick(JSON.parse(event.data));
    mine.onclose = (event) => {
      if (socket !== mine) return;
      socket = null;
      if (event.code === SIGNED_OUT) {
        say("closed", "signed out");
        location.assign("/login");
        return;
      }
      again();
    };
  }

  // A socket that is refused gives no reason: ask for the page, which leads to the login when the session ended.
  async function signedOut() {
    try {
      return (await fetch(location.href, { redirect: "manual" })).type === "opaqueredirect";
    } catch {
      return false;
    }
  }

  async function again() {
    say("reconnecting", "reconnecting");
    if (attempt > 0 && (await signedOut())) return location.assign("/login");
    const ceiling = Math.min(8000, 500 * 2 ** attempt);
    attempt += 1;
    setTimeout(connect, ceiling * (0.3 + 0.7 * Math.random()));
  }

  // A dead link gives no close event for minutes: silence counts as lost.
  function watch() {
    if (socket && lastTick && Date.now() - lastTick > SILENT_AFTER_MS) {
      const dead = socket;
      socket = null;
      dead.close();
      again();
    }
    times();
  }

  function keys() {
    const places = { f: "/", d: "/devices", r: "/releases", o: "/rollouts", a: "/audit" };
    let after = "";
    document.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, select, textarea")) return;
      const search = document.querySelector("input[type=search]");
      if (event.key === "/" && search) {
        event.preventDefault();
        search.focus();
      } else if (event.key === "?") document.getElementById("help")?.showModal();
      else if (after === "g" && places[event.key]) location.assign(places[event.key]);
      after = event.key;
    });
  }

  // Two tabs of one page, a page put aside: the socket closes with the page, and comes back with it.
  window.addEventListener("pagehide", () => {
    const mine = socket;
    socket = null;
    mine?.close();
  });
  window.addEventListener("pageshow", (event) => {
    if (event.persisted) connect();
  });
  document.querySelectorAll("select[data-submit]").forEach((field) => {
    field.addEventListener("change", () => field.form.requestSubmit());
  });
  times();
  keys();
  if (badge) {
    say("connecting", "connecting");
    connect();
    setInterval(watch, 1000);
  }
})();
