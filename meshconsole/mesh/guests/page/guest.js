// A guest's page: asks to be let in, makes a data channel, and speaks plain Nostr over it.

import { Channel } from "./channel.js";
import { Key } from "./nostr.js";

const ROOM = "guests";
const AGAIN_MS = [1500, 3000, 6000, 15000];
const MAX_SHOWN = 500;
const here = `ws://${location.host}/`;
const part = (id) => document.getElementById(id);
const key = Key.ofThisTab();

// The token stands behind the #, which is sent to nobody. It does not stay in the address line or in the history.
if (location.hash.length > 1) {
  sessionStorage.setItem("token", location.hash.slice(1));
  history.replaceState(null, "", location.pathname);
}

const me = { name: sessionStorage.getItem("name") ?? "", channel: null, tries: 0 };
const shown = new Map();

function say(text) {
  part("state").textContent = text;
}

function show(...ids) {
  for (const id of ["asking", "waiting", "room"]) part(id).hidden = !ids.includes(id);
}

// --- Coming in ----------------------------------------------------------------------------------------------

function comeIn() {
  const socket = new WebSocket(`${here}signals`);
  let over = null;
  let channel = null;
  say("Looking for the node.");

  socket.onmessage = async ({ data }) => {
    const said = JSON.parse(data);
    const send = (message) => socket.readyState === WebSocket.OPEN && socket.send(JSON.stringify(message));
    if (said.type === "hello") {
      part("node").textContent = said.node;
      const login = await key.event(22242, [["relay", here], ["challenge", said.challenge]], "");
      send({ type: "ask", login, token: sessionStorage.getItem("token") ?? "", name: me.name });
    } else if (said.type === "wait") {
      part("code").textContent = `${said.code.slice(0, 3)} ${said.code.slice(3)}`;
      say("Waiting for the owner of this node to let you in.");
      show("waiting");
    } else if (said.type === "welcome") {
      me.name = said.name;
      me.until = said.until;
      say("Making a data channel.");
      show("room");
      channel = new Channel();
      attend(channel, () => over);
      send({ type: "offer", sdp: await channel.offer() });
    } else if (said.type === "answer") {
      await channel.accept(said.sdp);
    } else if (said.type === "over") {
      over = said;
      channel?.close();
    }
  };
  socket.onclose = () => {
    if (!channel || over) ended(over);
  };
}

function ended(over) {
  me.channel = null;
  if (over?.final) {
    say(over.reason);
    show();
    return;
  }
  const wait = AGAIN_MS[Math.min(me.tries++, AGAIN_MS.length - 1)];
  say(`${over?.reason ?? "The node is not reached."} Trying again.`);
  setTimeout(comeIn, wait);
}

// --- The channel --------------------------------------------------------------------------------------------

function attend(channel, over) {
  channel.onend = () => {
    // The reason, if the node has one, comes over the WebSocket at the same moment.
    if (me.channel === channel) setTimeout(() => me.channel === channel && !over() && ended(null), 500);
  };
  channel.onmessage = async (message) => {
    const [verb, ...rest] = message;
    if (verb === "AUTH") {
      const login = await key.event(22242, [["relay", here], ["challenge", rest[0]]], "");
      me.login = login.id;
      channel.send(["AUTH", login]);
    } else if (verb === "OK" && rest[0] === me.login) {
      if (rest[1]) channel.send(["REQ", "room", { kinds: [1], "#h": [ROOM], limit: 200 }]);
      else say(rest[2]);
    } else if (verb === "OK" && !rest[1]) {
      part("notes").querySelector(`[data-id="${rest[0]}"]`)?.querySelector(".what").classList.add("failed");
      say(rest[2]);
    } else if (verb === "OK") {
      document.dispatchEvent(new CustomEvent("stored", { detail: rest[0] }));
    } else if (verb === "EVENT" && rest[0] === "room") {
      note(rest[1]);
    } else if (verb === "EOSE") {
      me.channel = channel;
      me.tries = 0;
      const until = new Date(me.until * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
      say(`You are here as ${me.name}, until ${until}.`);
      document.dispatchEvent(new Event("here"));
    } else if (verb === "CLOSED" || verb === "NOTICE") {
      say(rest[rest.length - 1]);
    }
  };
}

function note(event) {
  if (shown.has(event.id)) return;
  const row = document.createElement("li");
  const [who, what] = [document.createElement("span"), document.createElement("span")];
  who.className = "who";
  what.className = "what";
  who.textContent = event.tags.find((tag) => tag[0] === "name")?.[1] ?? event.pubkey.slice(0, 8);
  what.textContent = event.content;
  row.dataset.id = event.id;
  row.append(who, what);
  shown.set(event.id, event.created_at);
  const list = part("notes");
  const after = [...list.children].find((other) => shown.get(other.dataset.id) > event.created_at);
  list.insertBefore(row, after ?? null);
  while (list.children.length > MAX_SHOWN) {
    shown.delete(list.firstChild.dataset.id);
    list.firstChild.remove();
  }
  if (!after) row.scrollIntoView({ block: "nearest" });
}

part("writing").onsubmit = async (event) => {
  event.preventDefault();
  const text = part("text").value.trim();
  if (!text || !me.channel) return;
  part("text").value = "";
  const written = await key.event(1, [["h", ROOM], ["name", me.name]], text);
  me.channel.send(["EVENT", written]);
  note(written);
};

part("asking").onsubmit = (event) => {
  event.preventDefault();
  me.name = part("name").value.trim();
  sessionStorage.setItem("name", me.name);
  show();
  comeIn();
};

if (me.name) {
  comeIn();
} else {
  say("Who are you? The owner of this node decides whether you may come in.");
  show("asking");
}
