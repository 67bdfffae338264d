// The browser's half of the chat example: a connection to every other member of a room, and one box to type in.
//
// `/?room=ROOM&name=NAME` enters by itself. With `&auto=COUNT&report=URL` it greets when it is connected to so many
// others, waits until it has heard as many, and posts what it heard to URL as JSON, for tests.

import { findAddresses, negotiateOver } from "./negotiation.js";

const $ = (id) => document.getElementById(id);

// ── Members ─────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Another member of the room, and the connection to it: from "connecting" to "here", and "left" or "lost". */
class Member extends EventTarget {
  state = "connecting";
  #pc = new RTCPeerConnection();
  #socket;
  #channel;

  constructor(name, url, { polite }) {
    super();
    this.name = name;
    this.#socket = new WebSocket(url);
    negotiateOver(this.#socket, this.#pc, { polite, complain: (error) => console.warn(`${name}: ${error.message}`) });
    this.#channel = this.#pc.createDataChannel("chat", { negotiated: true, id: 0 });
    this.#channel.addEventListener("open", () => this.#become("here"));
    this.#channel.addEventListener("message", ({ data }) => this.dispatchEvent(new CustomEvent("said", { detail: data })));
    this.#channel.addEventListener("close", () => this.#become(this.state === "here" ? "left" : "lost"));
    this.#pc.addEventListener("connectionstatechange", () => {
      if (this.#pc.connectionState === "closed") this.#become("lost");
    });
  }

  say(text) {
    if (this.#channel.readyState === "open") this.#channel.send(text);
  }

  /** The server says that the member is no longer in the room: who never came will not come any more. */
  giveUp() {
    if (this.state === "connecting") this.#become("lost");
  }

  #become(state) {
    if (["left", "lost"].includes(this.state)) return;
    this.state = state;
    if (state !== "here") {
      this.#pc.close();
      this.#socket.close();
    }
    this.dispatchEvent(new CustomEvent("state", { detail: state }));
  }
}

// ── The room ────────────────────────────────────────────────────────────────────────────────────────────────────────

/** A room, from when it is entered: it connects to everybody who is there or comes. */
class Room extends EventTarget {
  members = new Map(); // by their ids
  #room;

  constructor(room, name) {
    super();
    this.#room = encodeURIComponent(room);
    const door = new WebSocket(`ws://${location.host}/rooms/${this.#room}?name=${encodeURIComponent(name)}`);
    door.addEventListener("message", ({ data }) => this.#meet(JSON.parse(data)));
    door.addEventListener("close", ({ reason }) => this.dispatchEvent(new CustomEvent("alone", { detail: reason })));
  }

  say(text) {
    for (const member of this.members.values()) member.say(text);
  }

  /** Of every two members, the one whose id comes first is polite. */
  #meet({ you, members, signalling }) {
    for (const [id, member] of this.members) if (!(id in members)) member.giveUp();
    for (const [id, name] of Object.entries(members)) {
      if (id === you || this.members.has(id)) continue;
      const url = `ws://${location.hostname}:${signalling}/${this.#room}/${you}/${id}`;
      const member = new Member(name, url, { polite: you < id });
      this.members.set(id, member);
      this.dispatchEvent(new CustomEvent("member", { detail: member }));
    }
  }
}

// ── The page ────────────────────────────────────────────────────────────────────────────────────────────────────────

const page = {
  room: null,

  async enter(roomName, name) {
    $("enter").hidden = true;
    await findAddresses();
    this.room = new Room(roomName, name);
    this.room.addEventListener("member", ({ detail: member }) => this.welcome(member));
    this.room.addEventListener("alone", ({ detail: why }) => this.complain(why || "The server is gone: nobody new will come."));
    this.log("note", `You are ${name}, in ${roomName}.`);
    $("text").focus();
    return this.room;
  },

  welcome(member) {
    const item = document.createElement("li");
    item.textContent = member.name;
    item.dataset.state = member.state;
    $("members").append(item);
    member.addEventListener("said", ({ detail: text }) => this.log("other", text, member.name));
    member.addEventListener("state", ({ detail: state }) => {
      item.dataset.state = state;
      if (state === "here") this.log("note", `${member.name} is here.`);
      if (state === "left") this.log("note", `${member.name} has left.`);
      if (["left", "lost"].includes(state)) item.remove();
    });
  },

  say(text) {
    this.log("own", text);
    this.room.say(text);
  },

  log(kind, text, from) {
    const line = document.createElement("p");
    line.className = kind;
    if (from) line.appendChild(document.createElement("small")).textContent = from;
    line.appendChild(document.createElement("bdi")).textContent = text;
    $("log").append(line);
    $("log").scrollTop = $("log").scrollHeight;
  },

  complain(text) {
    $("trouble").textContent = text;
    $("trouble").hidden = false;
  },
};

$("enter").addEventListener("submit", (event) => {
  event.preventDefault();
  page.enter($("room").value, $("name").value);
});
$("say").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("text").value;
  $("text").value = "";
  if (text && page.room) page.say(text);
});

// ── Without a hand on the keyboard ──────────────────────────────────────────────────────────────────────────────────

/** Greet so many others, and wait to be greeted by as many; gives what was heard. */
function greet(room, name, count) {
  const heard = [];
  return new Promise((resolve) => {
    room.addEventListener("member", ({ detail: member }) => {
      member.addEventListener("said", ({ detail: text }) => heard.push([member.name, text]) === count && resolve(heard));
      member.addEventListener("state", () => {
        const here = [...room.members.values()].filter(({ state }) => state === "here");
        if (here.length === count) page.say(`Hello from ${name}`);
      });
    });
  });
}

const parameters = new URLSearchParams(location.search);
if (parameters.has("room") && parameters.has("name")) {
  const name = parameters.get("name");
  const room = await page.enter(parameters.get("room"), name);
  if (parameters.has("auto")) {
    const heard = await greet(room, name, Number(parameters.get("auto")));
    await fetch(parameters.get("report"), { method: "POST", body: JSON.stringify({ name, heard }) });
  }
}
