// libdatachannel, by its Node.js binding, behind the line protocol of README.md in this folder.

import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { exchange } from "./http_signalling.mjs";

// Resolved from NODE_PATH, which `import` would not look at.
const { PeerConnection } = createRequire(import.meta.url)("node-datachannel");

const tell = (event, members = {}) => process.stdout.write(JSON.stringify({ event, ...members }) + "\n");

const channels = new Map();
const connection = new PeerConnection("peer", { iceServers: [], disableAutoNegotiation: true });
connection.onStateChange((state) => tell("state", { state }));
connection.onDataChannel(watch);
const gathered = new Promise((resolve) => {
  connection.onGatheringStateChange((state) => state === "complete" && resolve());
});

function watch(channel) {
  const label = channel.getLabel();
  channels.set(label, channel);
  channel.onOpen(() => tell("open", { label, protocol: channel.getProtocol() }));
  channel.onClosed(() => tell("closed", { label }));
  channel.onMessage((message) => {
    if (typeof message === "string") tell("message", { label, text: message });
    else tell("message", { label, binary: Buffer.from(message).toString("base64") });
  });
}

async function describe(kind) {
  connection.setLocalDescription(kind);
  await gathered;
  return connection.localDescription();
}

const commands = {
  open: ({ label, protocol = "", ordered = true, maxRetransmits }) =>
    watch(connection.createDataChannel(label, { protocol, unordered: !ordered, maxRetransmits })),
  offer: async () => tell("description", await describe("offer")),
  async answer({ type, sdp }) {
    connection.setRemoteDescription(sdp, type);
    tell("description", await describe("answer"));
  },
  accept: ({ type, sdp }) => connection.setRemoteDescription(sdp, type),
  post: async ({ url }) => commands.accept(await exchange(url, await describe("offer"))),
  send: ({ label, text, binary }) =>
    binary === undefined
      ? channels.get(label).sendMessage(text)
      : channels.get(label).sendMessageBinary(Buffer.from(binary, "base64")),
  close_channel: ({ label }) => channels.get(label).close(),
  close: () => connection.close(),
};

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  await commands[command.do](command);
}
connection.close();
process.exit(0);
