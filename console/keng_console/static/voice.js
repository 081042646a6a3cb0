// A live voice: microphone → 16-bit mono at 16 kHz → WebSocket. What comes back is what the loudspeakers say.
const $ = (id) => document.getElementById(id);
const [talk, state, level, time, heard] = ["talk", "state", "level", "time", "heard"].map($);
const rows = heard.tBodies[0];
const RATE = 16000;
let socket = null, context = null, stream = null, began = 0, over = false;

function say(what, more = "") {
  state.textContent = state.dataset[what].replace("%(why)s", more);
}

function row(speaker, called = speaker, online = true) {
  heard.hidden = false;
  const known = document.getElementById(`at-${speaker}`);
  if (known) return known;
  const made = rows.insertRow();
  const name = document.createElement("th");
  name.scope = "row";
  name.textContent = called;
  made.append(name);
  const cell = made.insertCell();
  cell.id = `at-${speaker}`;
  cell.textContent = online ? rows.dataset.asked : rows.dataset.away;
  return cell;
}

function take(message) {
  if (message.problem) {
    stop();
    state.textContent = message.problem;
  } else if (message.speakers) {
    for (const { id, name, online } of message.speakers) row(id, name, online);
    const gong = Number(state.dataset.gongS) * 1000;
    if (gong > 0) say("gong");
    setTimeout(() => over || say("speaking"), gong);
  } else {
    row(message.speaker).textContent = message.said;
  }
}

async function start() {
  talk.disabled = true;
  say("asking");
  try {
    stream = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1, autoGainControl: true, noiseSuppression: true, echoCancellation: false } });
    try {
      context = new AudioContext({ sampleRate: RATE, latencyHint: "interactive" });
      context.createMediaStreamSource(stream);
    } catch { // a browser that does not resample
      context = new AudioContext({ latencyHint: "interactive" });
    }
    await context.audioWorklet.addModule(talk.dataset.worklet);
  } catch (error) {
    talk.disabled = false;
    return say("refused", error.name ?? String(error));
  }
  say("connecting");
  const address = new URL(`${location.pathname}/sound?lang=${document.documentElement.lang}`, location.href);
  address.protocol = address.protocol.replace("http", "ws");
  socket = new WebSocket(address);
  socket.onmessage = (event) => take(JSON.parse(event.data));
  socket.onclose = () => {
    const told = over;
    stop();
    talk.hidden = true;
    if (!told) say("lost");
    else if (state.textContent === state.dataset.ending) say("over");
  };
  socket.onopen = () => {
    const frames = new AudioWorkletNode(context, "frames", { numberOfOutputs: 0 });
    frames.port.onmessage = ({ data }) => {
      if (socket.readyState === WebSocket.OPEN && !over) socket.send(data.sound);
      level.value = data.dbfs;
      const seconds = Math.floor((performance.now() - began) / 1000);
      time.textContent = `${String(Math.floor(seconds / 60)).padStart(2, "0")}:${String(seconds % 60).padStart(2, "0")}`;
    };
    context.createMediaStreamSource(stream).connect(frames);
    began = performance.now();
    talk.textContent = talk.dataset.stop;
    talk.setAttribute("aria-pressed", "true");
    talk.disabled = false;
  };
}

function stop() {
  over = true;
  talk.disabled = true;
  stream?.getTracks().forEach((track) => track.stop());
  context?.state !== "closed" && context?.close();
}

talk.addEventListener("click", () => {
  if (!socket) return start();
  stop();
  say("ending");
  socket.send("end");
});
talk.hidden = false;
if (navigator.mediaDevices) say("ready");
else {
  talk.disabled = true;
  say("refused", "https");
}
