// Live updates: takes the sections that changed from the server and counts ages on. The page works without it.
const root = document.documentElement;
const link = document.getElementById("link");
const language = root.lang;
const JUST_NOW_S = 5; // as in words.py
const SILENCE_MS = 35000; // two of the server's ticks
const UNITS = [["year", 31536000], ["month", 2592000], ["week", 604800], ["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];
const relative = new Intl.RelativeTimeFormat(language, { numeric: "always" });
const clock = new Intl.DateTimeFormat(language, { hour: "2-digit", minute: "2-digit", hour12: false, timeZone: root.dataset.zone });
const justNow = link.dataset.now;

// The server's clock is the one that counts; a phone's may be minutes off.
let skew = Number(root.dataset.now) - Date.now();
let heard = Date.now();
let source = null;

function ages(within) {
  const now = Date.now() + skew;
  for (const time of within.querySelectorAll("time[data-age]")) {
    const age = (now - Date.parse(time.dateTime)) / 1000;
    let text = justNow;
    if (age >= JUST_NOW_S) {
      const [unit, length] = UNITS.find(([, seconds]) => age >= seconds);
      text = relative.format(-Math.round(age / length), unit);
    }
    if (time.textContent !== text) time.textContent = text;
  }
}

function put({ id, tone, html }) {
  const section = document.getElementById(id);
  if (!section) return;
  const open = [...section.querySelectorAll("details[open]")].map((details) => details.id);
  const focused = section.contains(document.activeElement) ? document.activeElement.id : "";
  section.innerHTML = html; // from our own server, escaped by its templates
  if (tone) section.dataset.tone = tone;
  else delete section.dataset.tone;
  for (const details of open) document.getElementById(details)?.setAttribute("open", "");
  if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
  ages(section);
}

function say(live) {
  const text = live ? link.dataset.live : link.dataset.lost;
  if (link.textContent !== text) link.textContent = text;
  document.body.toggleAttribute("data-lost", !live);
}

function alive() {
  heard = Date.now();
  say(true);
}

function connect() {
  source?.close();
  source = new EventSource(`/events?lang=${language}&since=${encodeURIComponent(root.dataset.revision)}`);
  source.addEventListener("open", alive);
  source.addEventListener("tick", alive);
  source.addEventListener("reload", () => location.reload());
  source.addEventListener("update", (event) => {
    const update = JSON.parse(event.data);
    root.dataset.revision = event.lastEventId;
    skew = update.now - Date.now();
    if (document.title !== update.title) document.title = update.title;
    document.body.dataset.tone = update.tone;
    update.sections.forEach(put);
    alive();
  });
  source.addEventListener("error", () => say(false));
}

setInterval(() => {
  ages(document);
  const time = document.getElementById("clock");
  const text = clock.format(Date.now() + skew);
  if (time.textContent !== text) time.textContent = text;
  if (Date.now() - heard > SILENCE_MS || source.readyState === EventSource.CLOSED) {
    heard = Date.now() - SILENCE_MS + 5000; // try again in five seconds
    say(false);
    connect();
  }
}, 1000);
connect();
