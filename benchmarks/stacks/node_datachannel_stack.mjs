// libdatachannel, by its Node.js binding, behind the line protocol of README.md in this folder.

import { createRequire } from "node:module";
import { createInterface } from "node:readline";

// Resolved from NODE_PATH, which `import` would not look at.
const require = createRequire(import.meta.url);
const { PeerConnection, getLibraryVersion } = require("node-datachannel");

const HIGH_WATER_MARK = 1_048_576;
const tell = (event, members = {}) => process.stdout.write(JSON.stringify({ event, ...members }) + "\n");
const now = () => performance.now() / 1000;

class Peer {
  constructor(name) {
    this.connection = new PeerConnection(name, { iceServers: [], disableAutoNegotiation: true });
    this.gathered = new Promise((resolve) =>
      this.connection.onGatheringStateChange((state) => state === "complete" && resolve()),
    );
    this.connection.onDataChannel((channel) => this.count(channel));
  }

  // Open the channel that everything is sent on.
  openChannel() {
    this.channel = this.connection.createDataChannel("benchmark");
    this.opened = new Promise((resolve) => this.channel.onOpen(resolve));
    this.channel.onMessage((text) => this.onEcho?.(text));
  }

  async describe(type) {
    this.connection.setLocalDescription(type);
    await this.gathered;
    return this.connection.localDescription().sdp;
  }

  take(sdp, type) {
    this.connection.setRemoteDescription(sdp, type);
  }

  count(channel) {
    this.channel = channel;
    let [messages, bytes, began] = [0, 0, 0];
    channel.onMessage((message) => {
      if (typeof message !== "string") {
        if (!messages) began = now();
        messages += 1;
        bytes += message.byteLength;
      } else if (message === "end") {
        tell("received", { messages, bytes, seconds: now() - began });
        messages = bytes = 0;
      } else channel.sendMessage(message);
    });
  }
}

async function send(channel, seconds, size) {
  const message = Buffer.alloc(size);
  const end = now() + seconds;
  let goOn = () => {};
  channel.setBufferedAmountLowThreshold(HIGH_WATER_MARK / 2);
  channel.onBufferedAmountLow(() => goOn());
  while (now() < end) {
    while (channel.bufferedAmount() >= HIGH_WATER_MARK)
      await new Promise((resolve) => {
        goOn = resolve;
        setTimeout(resolve, 10); // it may have been low again before we looked
      });
    channel.sendMessageBinary(message);
  }
  channel.sendMessage("end");
}

async function ping(peer, count) {
  const seconds = [];
  for (let number = 0; number < count; number++) {
    const began = now();
    await new Promise((resolve) => {
      peer.onEcho = resolve;
      peer.channel.sendMessage(`ping ${number}`);
    });
    seconds.push(now() - began);
  }
  tell("pinged", { seconds });
}

const kept = [];

async function connect(number) {
  const [left, right] = [new Peer(`left ${number}`), new Peer(`right ${number}`)];
  kept.push(left, right);
  left.openChannel();
  right.take(await left.describe("offer"), "offer");
  left.take(await right.describe("answer"), "answer");
  await left.opened;
}

const peer = new Peer("peer");
const commands = {
  async offer() {
    peer.openChannel();
    tell("description", { sdp: await peer.describe("offer") });
  },
  async answer({ sdp }) {
    peer.take(sdp, "offer");
    tell("description", { sdp: await peer.describe("answer") });
  },
  async accept({ sdp }) {
    peer.take(sdp, "answer");
    await peer.opened;
    tell("open");
  },
  send: ({ seconds, size }) => send(peer.channel, seconds, size),
  ping: ({ count }) => ping(peer, count),
  async connect({ pairs }) {
    const began = now();
    await Promise.all(Array.from({ length: pairs }, (_, number) => connect(number)));
    tell("connected", { seconds: now() - began });
  },
};

tell("ready", { name: `node-datachannel (libdatachannel ${getLibraryVersion()}), Node.js ${process.versions.node}` });
for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  await commands[command.do](command);
}
for (const { connection } of [peer, ...kept]) connection.close();
process.exit(0);
