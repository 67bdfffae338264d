// Any package for Node.js with an RTCPeerConnection as W3C has it, behind the line protocol of README.md in this folder.
// Its name is the argument.

import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { exchange } from "./http_signalling.mjs";

// Resolved from NODE_PATH, which `import` would not look at.
const { RTCPeerConnection } = createRequire(import.meta.url)(process.argv[2]);

const tell = (event, members = {}) => process.stdout.write(JSON.stringify({ event, ...members }) + "\n");

const channels = new Map();
const connection = new RTCPeerConnection({ iceServers: [] });
connection.onconnectionstatechange = () => tell("state", { state: connection.connectionState });
connection.ondatachannel = ({ channel }) => watch(channel);

function watch(channel) {
  const { label } = channel;
  const tellOpen = () => tell("open", { label, protocol: channel.protocol });
  channels.set(label, channel);
  channel.binaryType = "arraybuffer";
  channel.onclose = () => tell("closed", { label });
  channel.onmessage = ({ data }) => {
    if (typeof data === "string") tell("message", { label, text: data });
    else tell("message", { label, binary: Buffer.from(data).toString("base64") });
  };
  if (channel.readyState === "open") tellOpen();
  else channel.onopen = tellOpen;
}

async function describe(description) {
  const gathered = new Promise((resolve) => {
    connection.onicegatheringstatechange = () => connection.iceGatheringState === "complete" && resolve();
  });
  await connection.setLocalDescription(description);
  if (connection.iceGatheringState !== "complete") await gathered;
  const { type, sdp } = connection.localDescription;
  return { type, sdp };
}

const commands = {
  open: ({ label, ...init }) => watch(connection.createDataChannel(label, init)),
  offer: async () => tell("description", await describe(await connection.createOffer())),
  answer: async ({ type, sdp }) => {
    await connection.setRemoteDescription({ type, sdp });
    tell("description", await describe(await connection.createAnswer()));
  },
  accept: ({ type, sdp }) => connection.setRemoteDescription({ type, sdp }),
  post: async ({ url }) => commands.accept(await exchange(url, await describe(await connection.createOffer()))),
  send: ({ label, text, binary }) => channels.get(label).send(binary === undefined ? text : Buffer.from(binary, "base64")),
  close_channel: ({ label }) => channels.get(label).close(),
  close: () => connection.close(),
};

for await (const line of createInterface({ input: process.stdin })) {
  const { do: command, ...members } = JSON.parse(line);
  await commands[command](members);
}
await connection.close();
process.exit(0);
